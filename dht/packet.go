package dht

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Limits of what a KRPC datagram may hold (BEP 5, 32, 42, 44).
const (
	maxPacket      = 4096 // bytes; nobody sends more than fits in a few fragments
	maxTransaction = 32   // bytes of "t"
	maxToken       = 256
	maxSalt        = 64
	maxEncoded     = 1000 // bytes of a bencoded v (BEP 44)
	maxErrorText   = 256
)

// message is one KRPC datagram, decoded and checked. Slices share the datagram.
type message struct {
	kind     byte // 'q', 'r' or 'e'
	t        []byte
	method   string
	readOnly bool
	args     args
	id       nodeID         // of the responder, in an 'r'
	ip       netip.AddrPort // our address as the sender sees it (BEP 42), if it told

	// r holds the encoded values of the keys of an 'r' that we know, all checked.
	r    [len(returnKeys)][]byte
	code int64 // of an 'e'
	text []byte
}

// args are the arguments of a query.
type args struct {
	id           nodeID
	target       nodeID // target or info_hash
	hasTarget    bool
	token        []byte
	port         int64
	implied      bool
	want4, want6 bool
	v            []byte // encoded
	key          [32]byte
	hasKey       bool
	sig          [64]byte
	salt         []byte
	seq, cas     *int64
}

// returnKeys are the keys of an answer that we know, in the order of the wire.
var returnKeys = [...]string{"id", "k", "nodes", "nodes6", "seq", "sig", "token", "v", "values"}

const ( // indexes of returnKeys
	keyID = iota
	keyK
	keyNodes
	keyNodes6
	keySeq
	keySig
	keyToken
	keyV
	keyValues
)

// The reasons for which a datagram is dropped; their texts are the names of the
// counters.
var (
	errNotKRPC     = errors.New("packet_not_krpc")
	errTooLong     = errors.New("packet_too_long")
	errMalformed   = errors.New("packet_malformed")
	errNoArguments = errors.New("query_without_arguments")
	errBadID       = errors.New("packet_bad_id")
	errBadField    = errors.New("packet_bad_field")
)

// parseMessage decodes a datagram. Everything that the rest of the package or
// the library takes for granted is checked here: types, lengths, ranges, depth.
func parseMessage(b []byte) (*message, error) {
	if len(b) > maxPacket {
		return nil, errTooLong
	}
	if len(b) < 2 || b[0] != 'd' {
		return nil, errNotKRPC
	}
	end, err := bencodeEnd(b, 0) // some senders let bytes trail
	if err != nil {
		return nil, errMalformed
	}
	var m message
	var kind, method, a, r, e []byte
	err = bencodeDict(b[:end], func(key string, value []byte) error {
		var err error
		switch key {
		case "t":
			m.t, err = wholeString(value)
		case "y":
			kind, err = wholeString(value)
		case "q":
			method, err = wholeString(value)
		case "a":
			a = value
		case "r":
			r = value
		case "e":
			e = value
		case "ip":
			// Some senders put other things here; that alone is no reason to drop.
			if ip, err := wholeString(value); err == nil {
				m.ip, _ = parseCompact(ip)
			}
		case "ro":
			ro, roErr := wholeInt(value)
			m.readOnly, err = ro == 1, roErr
		}
		return err
	})
	if err != nil {
		return nil, errMalformed
	}
	if len(kind) != 1 || len(m.t) == 0 || len(m.t) > maxTransaction {
		return nil, errMalformed
	}
	m.kind = kind[0]
	switch m.kind {
	case 'q':
		if len(a) == 0 || a[0] != 'd' {
			return nil, errNoArguments
		}
		m.method = string(method)
		return &m, m.args.parse(a)
	case 'r':
		if len(r) == 0 || r[0] != 'd' {
			return nil, errMalformed
		}
		return &m, m.parseReturn(r)
	case 'e':
		m.parseError(e)
		return &m, nil
	default:
		return nil, errMalformed
	}
}

// parse reads the dictionary of a query's arguments.
func (a *args) parse(b []byte) error {
	hasID := false
	err := bencodeDict(b, func(key string, value []byte) error {
		switch key {
		case "id":
			hasID = true
			return fixed(value, a.id[:], errBadID)
		case "target", "info_hash":
			a.hasTarget = true
			return fixed(value, a.target[:], errBadField)
		case "token":
			return bounded(value, &a.token, maxToken)
		case "port":
			port, err := wholeInt(value)
			a.port = port
			return err
		case "implied_port":
			implied, err := wholeInt(value)
			a.implied = implied != 0
			return err
		case "want":
			return bencodeList(value, func(w []byte) error {
				want, err := wholeString(w)
				a.want4 = a.want4 || string(want) == "n4"
				a.want6 = a.want6 || string(want) == "n6"
				return err
			})
		case "v":
			a.v = value
		case "k":
			a.hasKey = true
			return fixed(value, a.key[:], errBadField)
		case "sig":
			return fixed(value, a.sig[:], errBadField)
		case "salt":
			salt, err := wholeString(value)
			a.salt = salt // its length is answered, not dropped (error 207)
			return err
		case "seq":
			return integer(value, &a.seq)
		case "cas":
			return integer(value, &a.cas)
		}
		return nil
	})
	switch {
	case errors.Is(err, errBadID):
		return errBadID
	case err != nil:
		return errBadField
	case !hasID:
		return errBadID
	}
	return nil
}

// parseReturn reads the dictionary of an answer.
func (m *message) parseReturn(b []byte) error {
	err := bencodeDict(b, func(key string, value []byte) error {
		for i, known := range returnKeys {
			if key == known {
				m.r[i] = value
				return m.checkReturn(i)
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errBadID):
		return errBadID
	case err != nil:
		return errBadField
	case m.r[keyID] == nil:
		return errBadID
	}
	return nil
}

// checkReturn checks the value of one key of an answer.
func (m *message) checkReturn(i int) error {
	value := m.r[i]
	switch i {
	case keyID:
		return fixed(value, m.id[:], errBadID)
	case keyK:
		var k [32]byte
		return fixed(value, k[:], errBadField)
	case keySig:
		var sig [64]byte
		return fixed(value, sig[:], errBadField)
	case keyNodes, keyNodes6:
		nodes, err := wholeString(value)
		size := compactNode4
		if i == keyNodes6 {
			size = compactNode6
		}
		if err != nil || len(nodes)%size != 0 {
			return errBadField
		}
	case keySeq:
		_, err := wholeInt(value)
		return err
	case keyToken:
		var token []byte
		return bounded(value, &token, maxToken)
	case keyV:
		if len(value) > maxEncoded {
			return errBadField
		}
	case keyValues:
		// Entries of other lengths occur in the wild: they are left out. (One
		// under 2 bytes kills a process that lets the library decode it.)
		kept := []byte{'l'}
		err := bencodeList(value, func(v []byte) error {
			peer, err := wholeString(v)
			if len(peer) == 6 || len(peer) == 18 {
				kept = append(kept, v...)
			}
			return err
		})
		m.r[i] = append(kept, 'e')
		return err
	}
	return nil
}

// parseError reads the list of an error: a code and a text, or, as some send it,
// a text alone. What cannot be read is an error nevertheless.
func (m *message) parseError(b []byte) {
	m.code = 201 // generic error
	if text, err := wholeString(b); err == nil {
		m.text = text
	}
	i := 0
	_ = bencodeList(b, func(value []byte) error {
		if code, err := wholeInt(value); err == nil && i == 0 && code > 0 && code < 1e6 {
			m.code = code
		}
		if text, err := wholeString(value); err == nil && i == 1 {
			m.text = text
		}
		i++
		return nil
	})
	if len(m.text) > maxErrorText {
		m.text = m.text[:maxErrorText]
	}
}

// canonical returns the message, an answer or an error, in the one form in which
// the library gets it: keys in order, none that we do not know, with t as its
// transaction ID.
func (m *message) canonical(t []byte) []byte {
	b := []byte{'d'}
	if m.kind == 'e' {
		b = append(b, "1:el"...)
		b = appendInt(b, m.code)
		b = appendString(b, m.text)
		b = append(b, 'e')
	}
	if m.ip.IsValid() {
		b = append(b, "2:ip"...)
		b = appendString(b, appendCompact(nil, m.ip))
	}
	if m.kind == 'r' {
		b = append(b, "1:rd"...)
		for i, value := range m.r {
			if value != nil {
				b = appendString(b, returnKeys[i])
				b = append(b, value...)
			}
		}
		b = append(b, 'e')
	}
	b = append(b, "1:t"...)
	b = appendString(b, t)
	b = append(b, "1:y1:"...)
	return append(b, m.kind, 'e')
}

// fixed copies the string that value is into to, whose length it must have.
func fixed(value, to []byte, fault error) error {
	s, err := wholeString(value)
	if err != nil || len(s) != len(to) {
		return fault
	}
	copy(to, s)
	return nil
}

func bounded(value []byte, to *[]byte, limit int) error {
	s, err := wholeString(value)
	if err != nil || len(s) > limit {
		return errBadField
	}
	*to = s
	return nil
}

func integer(value []byte, to **int64) error {
	v, err := wholeInt(value)
	*to = &v
	return err
}

const (
	compactNode4 = 26 // bytes: ID, IPv4 address, port
	compactNode6 = 38
)

// parseCompact reads an address and port in 6 or 18 bytes.
func parseCompact(b []byte) (netip.AddrPort, bool) {
	if len(b) != 6 && len(b) != 18 {
		return netip.AddrPort{}, false
	}
	ip, _ := netip.AddrFromSlice(b[:len(b)-2])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[len(b)-2:])), true
}

func appendCompact(b []byte, addr netip.AddrPort) []byte {
	b = append(b, addr.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, addr.Port())
}
