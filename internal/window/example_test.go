package window

import "fmt"

// A client has 100 units a minute and tries to take the 101st after 20 seconds.
func ExampleFixed_Take() {
	var s Fixed
	c := Charge{Limit: 100, Per: 60 * second, Cost: 100}
	s, _ = s.Take(620*second, &c)
	c.Cost = 1
	_, v := s.Take(620*second, &c)
	fmt.Printf("%+v\n", v)
	// Output: {Remaining:0 ResetAfter:40000000 RetryAfter:40000000 Receipt:0}
}

// The first unit is free again when it is exactly one period old.
func ExampleLog_Take() {
	var l Log
	c := Charge{Limit: 2, Per: 10 * second, Cost: 1}
	for _, now := range []int64{100 * second, 103 * second, 105 * second, 110 * second} {
		var v Verdict
		l, v = l.Take(now, &c)
		fmt.Println(v.Allowed(), v.RetryAfter)
	}
	// Output:
	// true 0
	// true 0
	// false 5000000
	// true 0
}

// Three units a second come back one by one, a third of a second apart.
func ExampleBucket_Take() {
	var s Bucket
	c := Charge{Limit: 3, Per: second, Cost: 1}
	for range 4 {
		var v Verdict
		s, v = s.Take(0, &c)
		fmt.Println(v.Allowed(), v.Remaining, v.RetryAfter)
	}
	// Output:
	// true 2 0
	// true 1 0
	// true 0 0
	// false 0 333334
}
