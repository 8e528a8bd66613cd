package accesslog

import (
	"bytes"
	"errors"
	"net/netip"
)

// Forwarded says which address of an X-Forwarded-For list is the client, as the
// library reads the list: from the right, for a client can write anything on the
// left. One of the fields is set.
type Forwarded struct {
	// Hops is the place from the right; 1 is the last address, which the proxy
	// nearest to the server has written.
	Hops int
	// Trusted are the networks of the proxies: the client is the first address from
	// the right that is in none of them.
	Trusted []netip.Prefix
}

var (
	errFewHops    = errors.New("the list of addresses is shorter than --client-from-forwarded")
	errBadAddress = errors.New("the list of addresses cannot be read")
)

// resolve replaces the client by the one of the list. The list is that of a field
// of its own, or else the client itself is one. Where the list of its own does not
// help, the client stays the peer.
func (f *Forwarded) resolve(r *Record) error {
	list, peer := r.forwarded, r.Client
	if !hasText(list) {
		list, peer = r.Client, nil
	}
	if !hasText(list) || peer != nil && f.Hops == 0 && !f.trusts(peer) {
		return nil // nobody forwarded it, or somebody who could have made it up
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
		case comma < 0: // all are trusted: the first has sent it
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

// parseAddress reads an address, also with a port behind it.
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

// hasText is false for the dash that servers write when there is nothing.
func hasText(value []byte) bool {
	return len(value) > 1 || len(value) == 1 && value[0] != '-'
}
