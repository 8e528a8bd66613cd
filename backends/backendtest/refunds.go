package backendtest

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func refundRestores(s *subject, algorithm backends.Algorithm) {
	s.takeOne(costing(daily(algorithm, 10), 7))
	require.EqualValues(s, 5, s.takeOne(costing(daily(algorithm, 10), -2)).Remaining)
	v := s.takeOne(costing(daily(algorithm, 10), -1000))
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 10}, v, "never beyond the limit")
	require.True(s, s.takeOne(costing(daily(algorithm, 10), 10)).Allowed)
	require.False(s, s.takeOne(daily(algorithm, 10)).Allowed)
	other := scoped(daily(algorithm, 10), "unused")
	require.EqualValues(s, 10, s.takeOne(costing(other, -5)).Remaining)
	require.EqualValues(s, 9, s.takeOne(other).Remaining)
}

// refundThenCharge empties a counter and fills it again in one Take.
func refundThenCharge(s *subject, algorithm backends.Algorithm) {
	charge := costing(daily(algorithm, 3), 2)
	require.EqualValues(s, 1, s.takeOne(charge).Remaining)
	for range 2 {
		verdicts := s.take(costing(charge, -2), charge)
		require.Equal(s, []int64{3, 1}, []int64{verdicts[0].Remaining, verdicts[1].Remaining})
		require.EqualValues(s, 1, s.takeOne(costing(charge, 0)).Remaining)
	}
}

// refundWithReceipt tests backends that return receipts, which is optional.
func refundWithReceipt(s *subject, algorithm backends.Algorithm) {
	q := daily(algorithm, 4)
	q.Per, q.Tentative = time.Second, true
	charged := s.takeOne(costing(q, 2))
	if charged.Receipt == 0 {
		return
	}
	refund := costing(q, -2)
	refund.Receipt = charged.Receipt
	require.EqualValues(s, 4, s.takeOne(refund).Remaining)
	charged = s.takeOne(costing(q, 2))
	s.clock.Advance(3 * time.Second)
	require.Zero(s, s.takeOne(costing(q, 4)).Remaining)
	refund.Receipt = charged.Receipt
	require.Zero(s, s.takeOne(refund).Remaining, "those units have expired")
}

// receiptAfterReset tests backends that return receipts. Only the log can tell the units of
// one charge from those of another.
func receiptAfterReset(s *subject, algorithm backends.Algorithm) {
	if algorithm != backends.SlidingLog {
		return
	}
	q := daily(algorithm, 4)
	q.Tentative = true
	refund := costing(q, -1)
	if refund.Receipt = s.takeOne(q).Receipt; refund.Receipt == 0 {
		return
	}
	require.NoError(s, s.backend.Reset(s.Context(), q.Key, q.Scope))
	s.clock.Advance(time.Second)
	s.takeOne(costing(q, 2))
	require.EqualValues(s, 2, s.takeOne(refund).Remaining, "other units are not refunded")
}

// renews tests backends that return receipts. No other charge can come between the refund
// and the forced charge.
func renews(s *subject, algorithm backends.Algorithm) {
	q := daily(algorithm, 2)
	q.Per, q.Tentative = time.Second, true
	refund := costing(q, -1)
	refund.Receipt = s.takeOne(q).Receipt
	if algorithm != backends.SlidingLog || refund.Receipt == 0 {
		return
	}
	s.takeOne(q)
	s.clock.Advance(600 * time.Millisecond)
	charge := q
	charge.Forced = true
	v := s.take(refund, charge)
	require.Zero(s, v[1].Remaining)
	require.NotEqual(s, refund.Receipt, v[1].Receipt)
	require.False(s, s.takeOne(q).Allowed)
	s.clock.Advance(600 * time.Millisecond)
	require.EqualValues(s, 1, s.takeOne(costing(q, 0)).Remaining, "the unit that was not renewed has expired")
	refund.Receipt = v[1].Receipt
	require.EqualValues(s, 2, s.takeOne(refund).Remaining)
}
