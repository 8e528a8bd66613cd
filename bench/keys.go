package bench

import (
	"math/rand/v2"
	"strings"
)

// million is how many keys the large tables hold.
const million = 1_000_000

// keyOf is a key of 42 bytes, a fresh string each time, as one that was read
// from a request is: who keeps it, keeps its bytes.
func keyOf(i int) string {
	key := [keySize]byte([]byte("client-with-a-rather-long-name-00000000000"))
	for at := len(key) - 1; i > 0; at-- {
		key[at] += byte(i % 10)
		i /= 10
	}
	return string(key[:])
}

// keys are many of them in one string, without pointers: the collector would
// spend more time on a million strings than most contenders on their tables.
type keys string

const keySize = 42

func keysOf(n int) keys {
	var all strings.Builder
	for i := range n {
		all.WriteString(keyOf(i))
	}
	return keys(all.String())
}

func (k keys) len() int { return len(k) / keySize }

func (k keys) at(i int) string { return string(k[i*keySize : (i+1)*keySize]) }

func (k keys) first(n int) keys { return k[:n*keySize] }

// draws are which key comes next: a power of two of them, the same in each run,
// made beforehand because drawing costs more than deciding.
const draws = 1 << 20

func uniform(n int) []uint32 {
	r := rand.New(rand.NewPCG(1, 2))
	order := make([]uint32, draws)
	for i := range order {
		order[i] = uint32(r.IntN(n))
	}
	return order
}

// zipf draws few keys often and most of them hardly ever, as clients come. Which
// keys are the frequent ones is shuffled, so that they are not neighbours.
func zipf(n int) []uint32 {
	r := rand.New(rand.NewPCG(1, 2))
	law := rand.NewZipf(r, 1.1, 1, uint64(n-1))
	ranks := r.Perm(n)
	order := make([]uint32, draws)
	for i := range order {
		order[i] = uint32(ranks[law.Uint64()])
	}
	return order
}
