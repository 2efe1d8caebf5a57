package dht

import (
	"net/netip"
	"time"
)

const (
	answerNodes = 8  // nodes in an answer (BEP 5)
	answerPeers = 50 // peers in an answer: it stays within one packet
)

// krpcError is an error that we answer a query with (BEP 5, BEP 44).
type krpcError struct {
	code int64
	text string
}

var (
	errPutNoValue   = &krpcError{203, "no value"}
	errPutNoSeq     = &krpcError{203, "no sequence number"}
	errPutTooBig    = &krpcError{205, "value too big"}
	errPutSignature = &krpcError{206, "invalid signature"}
	errPutSalt      = &krpcError{207, "salt too big"}
	errPutCAS       = &krpcError{301, "the sequence number is not the one in cas"}
	errPutSeq       = &krpcError{302, "sequence number less than current"}
	errQueryToken   = &krpcError{203, "bad token"}
	errQueryTarget  = &krpcError{203, "no target"}
	errQueryPort    = &krpcError{203, "bad port"}
	errQueryMethod  = &krpcError{204, "method unknown"}
)

// enqueue takes in a query for the answering goroutine: the library's reading
// goroutine must not wait. What does not fit is dropped; the asker tries again.
func (f *family) enqueue(m *message, from netip.AddrPort) {
	f.node.count("queries")
	if f.node.cfg.ReadOnly {
		f.node.count("query_to_read_only")
		return
	}
	select {
	case f.queue <- incoming{m, from}:
	default:
		f.node.count("query_overflow")
	}
}

// serve answers the queries of others until the node closes.
func (f *family) serve() {
	for {
		select {
		case q := <-f.queue:
			f.answer(q.message, q.from)
		case <-f.node.ctx.Done():
			return
		}
	}
}

// answer answers one query, if its source's budget allows: with a forged source
// a query makes us send to somebody who did not ask.
func (f *family) answer(m *message, from netip.AddrPort) {
	if m.args.id == f.currentID() {
		f.node.count("query_of_ourselves")
		return
	}
	source := sourceKey(from)
	if !f.node.served.allow(source) {
		f.node.count("query_over_serve_budget")
		return
	}
	body, fault := f.result(m, from, time.Now())
	if fault != nil {
		f.node.count("queries_refused")
	}
	b := encodeAnswer(f.currentID(), from, m.t, body, fault)
	f.node.served.charge(source, len(b))
	_ = f.conn.send(b, from) // counted there; the asker tries again
	if !m.readOnly {
		f.consider(contact{m.args.id, from})
	}
}

// encodeAnswer returns the answer to transaction t of from: body, which is the
// content of r behind the ID, or fault.
func encodeAnswer(id nodeID, from netip.AddrPort, t, body []byte, fault *krpcError) []byte {
	b := append(make([]byte, 0, 128+len(body)), 'd')
	if fault != nil {
		b = append(b, "1:el"...)
		b = appendInt(b, fault.code)
		b = appendString(b, fault.text)
		b = append(b, 'e')
	}
	b = append(b, "2:ip"...)
	b = appendString(b, appendCompact(nil, from))
	kind := "1:y1:ee"
	if fault == nil {
		b = append(b, "1:rd2:id20:"...)
		b = append(b, id[:]...)
		b = append(b, body...)
		b = append(b, 'e')
		kind = "1:y1:re"
	}
	b = append(b, "1:t"...)
	b = appendString(b, t)
	return append(b, kind...)
}

// result returns what the answer to a query holds behind our ID, or the refusal.
func (f *family) result(m *message, from netip.AddrPort, now time.Time) ([]byte, *krpcError) {
	a := &m.args
	needsTarget := false
	switch m.method {
	case "find_node", "get", "get_peers", "announce_peer":
		needsTarget = true
	}
	if needsTarget && !a.hasTarget {
		return nil, errQueryTarget
	}
	switch m.method {
	case "ping":
		return nil, nil
	case "find_node":
		return f.nodes(nil, a, now), nil
	case "get":
		return f.resultGet(a, from, now), nil
	case "get_peers":
		b := f.nodes(nil, a, now)
		b = f.token(b, from, now)
		only := onlyIPv4
		if f.six {
			only = onlyIPv6
		}
		if peers := f.node.peers.get(a.target, answerPeers, only); len(peers) > 0 {
			b = append(b, "6:valuesl"...)
			for _, peer := range peers {
				b = appendString(b, appendCompact(nil, peer))
			}
			b = append(b, 'e')
		}
		return b, nil
	case "put":
		if !f.tokens.valid(a.token, from.Addr(), now) {
			return nil, errQueryToken
		}
		return nil, f.node.items.put(a, now)
	case "announce_peer":
		if !f.tokens.valid(a.token, from.Addr(), now) {
			return nil, errQueryToken
		}
		port := a.port
		if a.implied {
			port = int64(from.Port())
		}
		if port < 1 || port > 65535 {
			return nil, errQueryPort
		}
		f.node.peers.add(a.target, netip.AddrPortFrom(from.Addr(), uint16(port)), now)
		return nil, nil
	default:
		return nil, errQueryMethod
	}
}

// resultGet answers a get: keys in the order of the wire.
func (f *family) resultGet(a *args, from netip.AddrPort, now time.Time) []byte {
	item, ok := f.node.items.get(a.target, now)
	full := ok && (!item.muta || a.seq == nil || item.seq > *a.seq)
	var b []byte
	if full && item.muta {
		b = appendString(append(b, "1:k"...), item.key[:])
	}
	b = f.nodes(b, a, now)
	if ok && item.muta {
		b = appendInt(append(b, "3:seq"...), item.seq)
	}
	if full && item.muta {
		b = appendString(append(b, "3:sig"...), item.sig[:])
	}
	b = f.token(b, from, now)
	if full {
		b = append(append(b, "1:v"...), item.v...)
	}
	return b
}

func (f *family) token(b []byte, from netip.AddrPort, now time.Time) []byte {
	return appendString(append(b, "5:token"...), f.tokens.give(from.Addr(), now))
}

// nodes appends the good nodes closest to a query's target, of the families that
// it wants (BEP 32).
func (f *family) nodes(b []byte, a *args, now time.Time) []byte {
	want4, want6 := a.want4, a.want6
	if !want4 && !want6 {
		want4, want6 = !f.six, f.six
	}
	for _, family := range f.node.families {
		if family.six && !want6 || !family.six && !want4 {
			continue
		}
		family.mu.Lock()
		near := family.table.closest(a.target, answerNodes, now.Add(-goodFor))
		family.mu.Unlock()
		key := "5:nodes"
		if family.six {
			key = "6:nodes6"
		}
		b = appendString(append(b, key...), appendNodes(nil, near))
	}
	return b
}
