package accesslog

import (
	"bytes"
	"errors"
	"net/netip"
)

// Forwarded selects the client from an X-Forwarded-For list. Like the library, it reads the
// list from the right, because a client can write anything on the left. One of the fields is
// set.
type Forwarded struct {
	// Hops is the position from the right; 1 is the last address, written by the proxy
	// nearest to the server.
	Hops int
	// Trusted are the networks of the proxies: the client is the first address from the
	// right outside of them.
	Trusted []netip.Prefix
}

var (
	errFewHops    = errors.New("the list of addresses is shorter than --client-from-forwarded")
	errBadAddress = errors.New("the list of addresses is invalid")
)

// resolve replaces the client by an address of the list. The list is in its own field or,
// without one, in place of the client. If a list in its own field is invalid, the client
// stays the peer.
func (f *Forwarded) resolve(r *Record) error {
	list, peer := r.forwarded, r.Client
	if !hasText(list) {
		list, peer = r.Client, nil
	}
	if !hasText(list) || peer != nil && f.Hops == 0 && !f.trusts(peer) {
		return nil // not forwarded, or by an untrusted peer
	}
	client, err := f.pick(list)
	if err == nil {
		r.Client = client
		return nil
	}
	if peer != nil {
		return nil
	}
	return err
}

// pick finds the client in a list.
func (f *Forwarded) pick(list []byte) ([]byte, error) {
	for place := 1; ; place++ {
		comma := bytes.LastIndexByte(list, ',')
		address := bytes.TrimSpace(list[comma+1:])
		switch {
		case f.Hops > 0 && place == f.Hops:
			return checked(address)
		case f.Hops == 0 && !f.trusts(address):
			return checked(address)
		case comma < 0 && f.Hops > 0:
			return nil, errFewHops
		case comma < 0: // all are trusted: the first is the client
			return checked(address)
		}
		list = list[:comma]
	}
}

func checked(address []byte) ([]byte, error) {
	if _, ok := parseAddress(string(address)); !ok {
		return nil, errBadAddress
	}
	return address, nil
}

func (f *Forwarded) trusts(text []byte) bool {
	address, ok := parseAddress(string(text))
	for _, network := range f.Trusted {
		if ok && network.Contains(address) {
			return true
		}
	}
	return false
}

// parseAddress parses an address, with or without a port.
func parseAddress(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap(), true
	}
	if len(text) > 2 && text[0] == '[' && text[len(text)-1] == ']' {
		address, err := netip.ParseAddr(text[1 : len(text)-1])
		return address.Unmap(), err == nil
	}
	withPort, err := netip.ParseAddrPort(text)
	return withPort.Addr().Unmap(), err == nil
}

// hasText is false for an empty value and for a dash, which servers write for one.
func hasText(value []byte) bool {
	return len(value) > 1 || len(value) == 1 && value[0] != '-'
}
