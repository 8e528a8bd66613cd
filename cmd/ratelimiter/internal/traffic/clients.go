package traffic

import "bytes"

// clients assigns numbers to keys, from 0 in order of arrival.
type clients struct {
	slots  []uint32 // number+1 of a client, or 0 for a free slot; the length is a power of two
	hashes []uint64
	ends   []uint64 // ends of the keys in names
	names  []byte
}

// id returns the number of a key, and assigns one to a new key.
func (c *clients) id(key []byte, hash uint64) uint32 {
	if len(c.hashes)*2 >= len(c.slots) {
		c.grow()
	}
	mask := uint64(len(c.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		found := c.slots[at]
		if found == 0 {
			c.slots[at] = uint32(len(c.hashes)) + 1
			c.hashes = append(c.hashes, hash)
			c.names = append(c.names, key...)
			c.ends = append(c.ends, uint64(len(c.names)))
			return c.slots[at] - 1
		}
		if c.hashes[found-1] == hash && bytes.Equal(c.name(found-1), key) {
			return found - 1
		}
	}
}

func (c *clients) name(id uint32) []byte {
	start := uint64(0)
	if id > 0 {
		start = c.ends[id-1]
	}
	return c.names[start:c.ends[id]]
}

func (c *clients) grow() {
	c.slots = make([]uint32, max(1024, 2*len(c.slots)))
	mask := uint64(len(c.slots) - 1)
	for id, hash := range c.hashes {
		at := hash & mask
		for c.slots[at] != 0 {
			at = (at + 1) & mask
		}
		c.slots[at] = uint32(id) + 1
	}
}
