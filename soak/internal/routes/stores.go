package routes

import (
	"fmt"
	"strconv"
	"strings"
)

// The stores of the counters, and the servers themselves: what faults are about.
const (
	Single   = "single"
	Sentinel = "sentinel"
	Server   = "server"
)

// Nodes is how many nodes the Cluster has. They share the slots equally, in their order.
const Nodes = 3

// Processes is how many servers there are. Victim is the one that is killed and stopped.
const (
	Processes = 3
	Victim    = 2
)

// NodeStore is the name of a node of the Cluster as a store.
func NodeStore(node int) string { return fmt.Sprint("cluster-", node) }

// Store says where the counter of a client on a route is. It is "" for the memory of each
// process.
func (r *Route) Store(scope string) string {
	switch r.Limiter {
	case Local:
		return ""
	case HA:
		return Sentinel
	case Cluster:
		return NodeStore(NodeOf(r.storedKey(scope)))
	}
	return Single
}

// StoreOf is Store for a route in the form "GET /users", as observers see it.
func StoreOf(limiter, route, scope string) string {
	_, path, _ := strings.Cut(route, " ")
	r := Route{Limiter: limiter}
	if limiter == Cluster {
		r = *ByPath(path)
	}
	return r.Store(scope)
}

// IsOn reports whether all counters of a limiter, or some, are in a store.
func IsOn(limiter, store string) bool {
	switch limiter {
	case Local:
		return false
	case HA:
		return store == Sentinel
	case Cluster:
		return strings.HasPrefix(store, "cluster-")
	}
	return store == Single
}

// storedKey is the key in Redis. The harness checks that the Cluster has it where Store says.
func (r *Route) storedKey(scope string) string {
	key := r.Limiter + "/" + r.Key()
	if r.Slots > 0 {
		key = r.Limiter + "/concurrent/" + r.Key()
	}
	return key + ":" + scope + ":" + strconv.Itoa(len(key))
}

const slots = 16384

// NodeOf is the node of the Cluster that has a key. No key here has braces.
func NodeOf(key string) int { return slotOf(key) * Nodes / slots }

// slotOf is the slot of a key, its CRC-16 (XMODEM) modulo the number of slots.
func slotOf(key string) int {
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			if crc <<= 1; carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % slots
}
