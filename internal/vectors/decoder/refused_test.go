package decoder

import (
	"bytes"
	"testing"
)

// authentic are the first bytes of datagrams of which every bit is under a key.
func authentic(first byte) bool { return first <= 3 || first >= 0xC0 && first <= 0xCB }

// TestFlippedBitsAreRefused reads the recording with a bit changed in one
// datagram, another bit in each.
func TestFlippedBitsAreRefused(t *testing.T) {
	rec := recording(t)
	tried := 0
	for i, g := range rec.Datagrams {
		if !authentic(g.Bytes[0]) {
			continue
		}
		at := i * 37 % len(g.Bytes)
		bad := bytes.Clone(g.Bytes)
		bad[at] ^= 1 << (i % 8)
		rec.Datagrams[i].Bytes = bad
		if _, err := Decode(rec); err == nil {
			t.Errorf("datagram %d is taken with byte %d changed", i, at)
		}
		rec.Datagrams[i].Bytes = g.Bytes
		tried++
	}
	if tried < 50 {
		t.Errorf("only %d bits were tried", tried)
	}
}

// TestEveryByteIsAuthentic changes each byte of short data packets, some of long
// ones, and each of envelopes, and opens them by their keys alone.
func TestEveryByteIsAuthentic(t *testing.T) {
	rec, r := decoded(t)
	parties, err := rec.parties()
	if err != nil {
		t.Fatal(err)
	}
	packets, envelopes := 0, 0
	for i, g := range rec.Datagrams {
		from := byte(0)
		for _, p := range rec.People {
			if p.Name == g.From {
				from = parties[0].Pair.Direction(ID(p.ID))
			}
		}
		var open func(b []byte) error
		switch first := g.Bytes[0]; {
		case first == 0xC8:
			envelopes++
			open = func(b []byte) error {
				_, err := parties[1-from].OpenEnvelope(g.Time/1e6, b)
				return err
			}
		case first&0xF8 == 0xC0:
			packets++
			open = func(b []byte) error {
				e := r.Link.Ends[from]
				if _, known := e.ids[string(b[1:9])]; !known {
					return errConnection
				}
				_, _, err := NewReceiver(e.receiver.schedule, from, 0).Open(b)
				return err
			}
		default:
			continue
		}
		if err := open(g.Bytes); err != nil {
			t.Fatalf("datagram %d as it is: %v", i, err)
		}
		for at := 0; at < len(g.Bytes); at += 1 + len(g.Bytes)/200 {
			bad := bytes.Clone(g.Bytes)
			bad[at] ^= 0x10
			if open(bad) == nil {
				t.Errorf("datagram %d is taken with byte %d changed", i, at)
			}
		}
	}
	if packets == 0 || envelopes == 0 {
		t.Errorf("%d packets and %d envelopes, want some of both", packets, envelopes)
	}
}

// TestFaultsOfLinks hands a link frames that no honest node sends.
func TestFaultsOfLinks(t *testing.T) {
	confirmed := func() *Link {
		l := NewLink(nil, &Schedule{Suite: suiteAES, Master: make([]byte, 32)})
		for from, e := range l.Ends {
			e.token = make(Hex, 16)
			l.Ends[1-from].answers = []Hex{e.token}
		}
		return l
	}
	frame := func(kind uint8, v any) Frame { return Frame{Kind: kind, Value: v} }
	data := func(lane, offset uint64, bytes string, fin bool) Frame {
		return frame(frameData, &Data{Lane: lane, Offset: offset, Data: Hex(bytes), Fin: fin})
	}
	for name, frames := range map[string][]Frame{
		"lane of the other end":         {data(2, 0, "x", false)},
		"lane above the credit":         {data(257, 0, "x", false)},
		"byte above the lane's credit":  {data(1, laneCredit, "x", false)},
		"bytes above the link's credit": {data(1, laneCredit-1, "x", false), data(3, laneCredit-1, "x", false), data(5, 0, "x", false)},
		"FIN of lane 0":                 {data(0, 0, "x", true)},
		"RESET of lane 0":               {frame(frameReset, &Reset{})},
		"STOP of lane 0":                {frame(frameStop, &Stop{})},
		"beyond the final size":         {data(1, 0, "x", true), data(1, 1, "y", false)},
		"another final size":            {data(1, 0, "x", true), frame(frameReset, &Reset{Lane: 1, Size: 2})},
		"final size below what came":    {data(1, 5, "x", false), frame(frameReset, &Reset{Lane: 1, Size: 3})},
		"other bytes":                   {data(1, 0, "ab", false), data(1, 1, "x", false)},
		"ACK of a packet never sent":    {frame(frameAck, &Ack{Ranges: []AckRange{{Low: 0, High: 0}}})},
		"behind CLOSE":                  {frame(frameClose, &Close{}), frame(framePing, Ping{})},
		"another token":                 {frame(frameAsk, make(Hex, 15))},
		"answer to nothing":             {frame(frameAnswer, make(Hex, 15))},
		"response to nothing":           {frame(frameResponse, make(Hex, 8))},
		"long datagram":                 {frame(frameDatagram, &Datagram{Session: 1, Flow: 1, Data: make(Hex, maxDatagram+1)})},
	} {
		l := confirmed()
		for i, f := range frames {
			err := l.frame(0, f)
			if last := i == len(frames)-1; (err != nil) != last {
				t.Errorf("%s: frame %d: %v", name, i, err)
			}
		}
	}
	l := confirmed()
	l.Ends[1].answers = nil
	if err := l.frame(0, frame(framePing, Ping{})); err == nil {
		t.Error("PING taken before the keys are confirmed")
	}
}

// TestFaultsOfStreams reads smux that no honest node writes.
func TestFaultsOfStreams(t *testing.T) {
	syn := func(id byte) []byte { return []byte{2, 0, 0, 0, id, 0, 0, 0} }
	psh := func(id byte, text string) []byte {
		return append([]byte{2, 2, byte(len(text)), 0, id, 0, 0, 0}, text...)
	}
	fin := func(id byte) []byte { return []byte{2, 1, 0, 0, id, 0, 0, 0} }
	upd := func(id, consumed, window byte) []byte {
		return []byte{2, 4, 8, 0, id, 0, 0, 0, consumed, 0, 0, 0, window, 0, 0, 0}
	}
	read := func(frames ...[]byte) (map[uint32]*Stream, error) {
		f, err := readSmux(bytes.Join(frames, nil), false)
		if err != nil {
			return nil, err
		}
		return readStreams([2][]smuxFrame{f, nil}, 0)
	}
	streams, err := read(syn(3), psh(3, "a"), psh(3, "b"), fin(3), syn(5))
	if err != nil || len(streams) != 2 || string(streams[3].Written[0]) != "ab" || !streams[3].Ended[0] || streams[5].Ended[0] {
		t.Errorf("got %v, %v, want two streams, the first of which says ab and ends", streams, err)
	}
	for name, frames := range map[string][][]byte{
		"another version":       {{1, 0, 0, 0, 3, 0, 0, 0}},
		"another command":       {{2, 5, 0, 0, 3, 0, 0, 0}},
		"NOP of a stream":       {{2, 3, 0, 0, 3, 0, 0, 0}},
		"SYN with a body":       {{2, 0, 1, 0, 3, 0, 0, 0, 0}},
		"UPD of another length": {{2, 4, 7, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		"cut":                   {syn(3), psh(3, "abc")[:9]},
		"SYN out of order":      {syn(5)},
		"SYN of wrong parity":   {syn(2)},
		"never opened":          {psh(3, "x")},
		"before its SYN":        {psh(3, "x"), syn(3)},
		"PSH after FIN":         {syn(3), fin(3), psh(3, "x")},
		"FIN after FIN":         {syn(3), fin(3), fin(3)},
		"too much credit":       {syn(3), upd(3, 1, 9)},
		"unknown reason":        {syn(3), upd(3, 2, 0)},
	} {
		if _, err := read(frames...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
