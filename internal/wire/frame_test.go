package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzPacket takes any bytes for the plaintext of a data packet: what decodes
// must hold the promises of its frames, and encode to the same bytes.
func FuzzPacket(f *testing.F) {
	packet := packetCodec()
	for _, s := range packet.samples {
		f.Add(packet.append(nil, s.x))
	}
	for _, c := range frames() {
		for _, s := range c.samples {
			f.Add(c.append(nil, s.x))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !checkCanonical(t, packet, b) {
			return
		}
		x, err := packet.parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range *x.(*[]frame) {
			checkFrame(t, one.Value)
		}
	})
}

// checkFrame holds what the documentation promises of a decoded frame.
func checkFrame(t *testing.T, x any) {
	t.Helper()
	switch x := x.(type) {
	case *Ack:
		if n := len(x.Ranges); n < 1 || n > MaxAckRanges {
			t.Errorf("%d ranges", n)
		}
		for i, r := range x.Ranges {
			if r.Low > r.High || r.High > MaxVarint || i > 0 && r.High+2 > x.Ranges[i-1].Low {
				t.Errorf("range %d of %v", i, x.Ranges)
			}
		}
		if n, size := AckLen(x, math.MaxInt); n != len(x.Ranges) || size != len(AppendAck(nil, x)) {
			t.Errorf("AckLen gives %d, %d", n, size)
		}
	case *Data:
		if x.Lane > MaxVarint || x.Offset+uint64(len(x.Data)) > MaxVarint || len(x.Data) != cap(x.Data) {
			t.Errorf("%d bytes of %d at %d of lane %d", len(x.Data), cap(x.Data), x.Offset, x.Lane)
		}
		if got, want := DataOverhead(x.Lane, x.Offset, len(x.Data)), len(AppendData(nil, *x))-len(x.Data); got != want {
			t.Errorf("DataOverhead gives %d, want %d", got, want)
		}
	case *Datagram:
		if len(x.Data) != cap(x.Data) {
			t.Errorf("datagram of %d bytes with room for %d", len(x.Data), cap(x.Data))
		}
		if got, want := DatagramOverhead(x.Session, x.Flow, len(x.Data)), len(AppendDatagram(nil, *x))-len(x.Data); got != want {
			t.Errorf("DatagramOverhead gives %d, want %d", got, want)
		}
	case *Close:
		if len(x.Reason) > MaxCloseReason || !utf8.ValidString(x.Reason) || CloseReason(x.Reason) != x.Reason {
			t.Errorf("reason %q", x.Reason)
		}
	}
}

// TestFrameKinds: a frame is read by the functions of its own kind alone.
func TestFrameKinds(t *testing.T) {
	kinds := map[FrameKind]string{}
	for _, f := range frames() {
		own := map[FrameKind]bool{}
		for _, k := range f.kinds {
			if kinds[k] != "" {
				t.Errorf("%s and %s have kind 0x%02X", kinds[k], f.name, k)
			}
			kinds[k], own[k] = f.name, true
		}
		b := f.append(nil, f.samples[0].x)
		if !own[FrameKind(b[0])] {
			t.Errorf("%s: written with kind 0x%02X", f.name, b[0])
		}
		for k := range 256 {
			b[0] = byte(k)
			if _, _, err := f.take(b); errors.Is(err, ErrKind) == own[FrameKind(k)] {
				t.Errorf("%s: kind 0x%02X gives %v", f.name, k, err)
			}
		}
		if _, _, err := f.take(nil); !errors.Is(err, ErrShort) {
			t.Errorf("%s: of nothing: got %v, want ErrShort", f.name, err)
		}
	}
	if len(kinds) != 16 {
		t.Errorf("%d kinds, want 16", len(kinds))
	}
}

// frameLimit is the bytes of one frame at a limit.
type frameLimit struct {
	frame, what, in string // kind and fields, each its own word
	want            error
}

func (l *frameLimit) bytes() []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(l.in, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// frameLimits are the last value that is allowed of each kind, and the first
// that is not.
func frameLimits() []frameLimit {
	const most, none = "ffffffffffffffff", "00"
	return []frameLimit{
		{"padding", "zeros", "00 00", nil},
		{"padding", "not zero", "00 01", ErrValue},
		{"padding", "not zero at the end", "00" + strings.Repeat("00", 99) + "80", ErrValue},
		{"ack", "packet 0", "02 00 00 00 00", nil},
		{"ack", "all from 0", "02 05 00 00 05", nil},
		{"ack", "below 0", "02 05 00 00 06", ErrValue},
		{"ack", "far below 0", "02 05 00 00" + most, ErrValue},
		{"ack", "all there are", "02" + most + most + "00" + most, nil},
		{"ack", "second range ends with 0", "02 05 00 01 02 00 01", nil},
		{"ack", "second range is 0", "02 05 00 01 02 01 00", nil},
		{"ack", "gap to below 0", "02 05 00 01 02 02 00", ErrValue},
		{"ack", "second range to below 0", "02 05 00 01 02 01 01", ErrValue},
		{"ack", "gap behind 0", "02 05 00 01 05 00 00", ErrValue},
		{"ack", "gap behind 1", "02 05 00 01 04 00 00", ErrValue},
		{"ack", "greatest gap", "02 05 00 01 02" + most + "00", ErrValue},
		{"ack", "greatest gap there is room for", "02" + most + "00 01 00 fffffffffffffffd 00", nil},
		{"ack", "gap one above", "02" + most + "00 01 00 fffffffffffffffe 00", ErrValue},
		{"ack", "64 ranges", "02 407e 00 3f" + strings.Repeat("00", 127), nil},
		{"ack", "64 ranges, the last below 0", "02 407d 00 3f" + strings.Repeat("00", 127), ErrValue},
		{"ack", "65 ranges", "02 4100 00 4040" + strings.Repeat("00", 129), ErrValue},
		{"ack", "more ranges than any", "02 4100 00" + most, ErrValue},
		{"ack", "fewer ranges than it says", "02 05 00 01 02", ErrShort},
		{"ack", "highest not shortest", "02 4005 00 00 00", ErrValue},
		{"ack", "delay not shortest", "02 05 4000 00 00", ErrValue},
		{"ack", "count not shortest", "02 05 00 4000 00", ErrValue},
		{"ack", "length not shortest", "02 05 00 00 4000", ErrValue},
		{"ack", "gap not shortest", "02 05 00 01 02 4000 00", ErrValue},
		{"close", "255 bytes", "03 00 40ff" + strings.Repeat("61", 255), nil},
		{"close", "256 bytes", "03 00 4100" + strings.Repeat("61", 256), ErrValue},
		{"close", "longest of all", "03 00" + most + "61", ErrValue},
		{"close", "not UTF-8", "03 00 01 ff", ErrValue},
		{"close", "cut", "03 00 02 61", ErrShort},
		{"lanes", "none", "06" + none, nil},
		{"lanes", "2⁶⁰", "06 d000000000000000", nil},
		{"lanes", "2⁶⁰ + 1", "06 d000000000000001", ErrValue},
		{"lanewindow", "not shortest", "05 01 80000001", ErrValue},
		{"linkwindow", "not shortest", "04 c000000000000001", ErrValue},
		{"reset", "not shortest", "07 01 02 4003", ErrValue},
		{"stop", "not shortest", "08 4001 02", ErrValue},
		{"challenge", "7 bytes", "09 01020304050607", ErrShort},
		{"response", "7 bytes", "0a 01020304050607", ErrShort},
		{"ask", "15 bytes", "0c" + strings.Repeat("01", 15), ErrShort},
		{"answer", "15 bytes", "0d" + strings.Repeat("01", 15), ErrShort},
		{"datagram", "length above the rest", "0b 00 00 02 61", ErrShort},
		{"datagram", "greatest length", "0b 00 00" + most + "61", ErrShort},
		{"datagram", "length not shortest", "0b 00 00 4001 61", ErrValue},
		{"data", "up to the end", "10 00" + most + "00", nil},
		{"data", "beyond the end", "10 00" + most + "01 61", ErrValue},
		{"data", "last byte", "11 00 fffffffffffffffe 01 61", nil},
		{"data", "length above the rest", "10 00 00 02 61", ErrShort},
		{"data", "greatest length", "10 00 00" + most + "61", ErrShort},
		{"data", "greatest length at the end", "10 00" + most + most + "61", ErrShort},
		{"data", "lane not shortest", "10 4000 00 00", ErrValue},
		{"data", "offset not shortest", "10 00 4000 00", ErrValue},
		{"data", "length not shortest", "10 00 00 4001 61", ErrValue},
	}
}

// TestFrameLimits holds each frame to its limits.
func TestFrameLimits(t *testing.T) {
	byName := map[string]frameCodec{}
	for _, f := range frames() {
		byName[f.name] = f
	}
	for _, c := range frameLimits() {
		b := c.bytes()
		x, rest, err := byName[c.frame].take(b)
		if !errors.Is(err, c.want) {
			t.Errorf("%s, %s: got %v, want %v", c.frame, c.what, err, c.want)
		}
		if err != nil {
			continue
		}
		if len(rest) > 0 {
			t.Errorf("%s, %s: %d bytes left", c.frame, c.what, len(rest))
		}
		checkFrame(t, x)
		if got := byName[c.frame].append(nil, x); !bytes.Equal(got, b) {
			t.Errorf("%s, %s: encodes to %x", c.frame, c.what, got)
		}
	}
}

// TestFrameRest: a frame is taken off, and what follows is left.
func TestFrameRest(t *testing.T) {
	for _, f := range frames() {
		if f.name == "padding" {
			continue // reaches to the end
		}
		for _, s := range f.samples {
			b := append(f.append(nil, s.x), "rest"...)
			if _, rest, err := f.take(b); err != nil || string(rest) != "rest" {
				t.Errorf("%s %s: %q left, %v", f.name, s.name, rest, err)
			}
		}
	}
}

// TestAckLen: a frame of the ranges that fit is as long as the room at most,
// and one more range would not fit.
func TestAckLen(t *testing.T) {
	for _, f := range frames() {
		if f.name != "ack" {
			continue
		}
		for _, s := range f.samples {
			a := s.x.(*Ack)
			for room := range len(AppendAck(nil, a)) + 2 {
				n, size := AckLen(a, room)
				if n == 0 {
					if least := len(AppendAck(nil, &Ack{a.Delay, a.Ranges[:1]})); size != 0 || room >= least {
						t.Errorf("%s: no range, %d bytes, room %d, the first takes %d", s.name, size, room, least)
					}
					continue
				}
				if got := len(AppendAck(nil, &Ack{a.Delay, a.Ranges[:n]})); got != size || size > room {
					t.Errorf("%s: %d ranges take %d bytes, AckLen says %d, room %d", s.name, n, got, size, room)
				}
				if n < len(a.Ranges) {
					if more := len(AppendAck(nil, &Ack{a.Delay, a.Ranges[:n+1]})); more <= room {
						t.Errorf("%s: %d ranges although %d take %d of %d bytes", s.name, n, n+1, more, room)
					}
				}
			}
		}
	}
	a := fullAck()
	a.Ranges = append(a.Ranges, AckRange{0, 0})
	if n, _ := AckLen(a, math.MaxInt); n != MaxAckRanges {
		t.Errorf("%d ranges, want %d", n, MaxAckRanges)
	}
	if n, size := AckLen(&Ack{}, math.MaxInt); n != 0 || size != 0 {
		t.Errorf("of no range: %d, %d", n, size)
	}
}

// TestAckMemory: ranges are written where the caller says.
func TestAckMemory(t *testing.T) {
	memory := make([]AckRange, 3, MaxAckRanges)
	a, _, err := ParseAck(AppendAck(nil, fullAck()), memory)
	if err != nil || len(a.Ranges) != MaxAckRanges || &a.Ranges[0] != &memory[0] {
		t.Errorf("%d ranges elsewhere, %v", len(a.Ranges), err)
	}
}

// TestCloseReason: any text becomes a reason.
func TestCloseReason(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"gone":                            "gone",
		"a\xffb\xed\xa0\x80c":             "abc",
		strings.Repeat("x", 255):          strings.Repeat("x", 255),
		strings.Repeat("x", 300):          strings.Repeat("x", 255),
		strings.Repeat("x", 253) + "€€":   strings.Repeat("x", 253),
		strings.Repeat("x", 252) + "€€":   strings.Repeat("x", 252) + "€",
		strings.Repeat("\xff", 9) + "€":   "€",
		strings.Repeat("é", 128) + "\xff": strings.Repeat("é", 127),
	} {
		got := CloseReason(in)
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if c, _, err := ParseClose(AppendClose(nil, Close{Reason: got})); err != nil || c.Reason != got {
			t.Errorf("%q: read back as %q, %v", in, c.Reason, err)
		}
	}
}

// TestFrameAllocs: taking frames off and writing them costs no memory, but
// for the reason of a CLOSE.
func TestFrameAllocs(t *testing.T) {
	dst := make([]byte, 0, 2048)
	ranges := make([]AckRange, 0, MaxAckRanges)
	full := fullAck()
	payload := make([]byte, 1200)
	var fault error
	run := func(rest []byte, err error) {
		if err != nil || len(rest) > 0 {
			fault = errors.Join(fault, err, fmt.Errorf("%d bytes left", len(rest)))
		}
	}
	for name, f := range map[string]func(){
		"padding":     func() { run(nil, ParsePadding(AppendPadding(dst, 1000))) },
		"ping":        func() { run(ParsePing(AppendPing(dst))) },
		"ack":         func() { _, rest, err := ParseAck(AppendAck(dst, full), ranges); run(rest, err) },
		"ack length":  func() { AckLen(full, 100) },
		"close":       func() { _, rest, err := ParseClose(AppendClose(dst, Close{Code: 1 << 40})); run(rest, err) },
		"link window": func() { _, rest, err := ParseLinkWindow(AppendLinkWindow(dst, 1<<40)); run(rest, err) },
		"lane window": func() { _, rest, err := ParseLaneWindow(AppendLaneWindow(dst, LaneWindow{1, 1 << 40})); run(rest, err) },
		"lanes":       func() { _, rest, err := ParseLanes(AppendLanes(dst, 1<<40)); run(rest, err) },
		"reset":       func() { _, rest, err := ParseReset(AppendReset(dst, Reset{1, 2, 1 << 40})); run(rest, err) },
		"stop":        func() { _, rest, err := ParseStop(AppendStop(dst, Stop{1, 1 << 40})); run(rest, err) },
		"challenge":   func() { _, rest, err := ParsePathChallenge(AppendPathChallenge(dst, [8]byte{1})); run(rest, err) },
		"response":    func() { _, rest, err := ParsePathResponse(AppendPathResponse(dst, [8]byte{1})); run(rest, err) },
		"ask":         func() { _, rest, err := ParseAsk(AppendAsk(dst, [16]byte{1})); run(rest, err) },
		"answer":      func() { _, rest, err := ParseAnswer(AppendAnswer(dst, [16]byte{1})); run(rest, err) },
		"datagram": func() {
			_, rest, err := ParseDatagram(AppendDatagram(dst, Datagram{1, 1 << 40, payload}))
			run(rest, err)
		},
		"data": func() { _, rest, err := ParseData(AppendData(dst, Data{1, 1 << 40, true, payload})); run(rest, err) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if fault != nil {
		t.Error(fault)
	}
}

func BenchmarkData(b *testing.B) {
	payload := make([]byte, 1350)
	encoded := AppendData(nil, Data{Lane: 4, Offset: 1 << 32, Data: payload})
	b.Run("append header", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, 2048)
		for b.Loop() {
			dst = AppendDataHeader(dst[:0], 4, 1<<32, len(payload), false)
		}
	})
	b.Run("parse header", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, n, _, _, err := ParseDataHeader(encoded); err != nil || n != len(payload) {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := ParseData(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAck(b *testing.B) {
	for _, n := range []int{1, 4, MaxAckRanges} {
		a := fullAck()
		a.Ranges = a.Ranges[:n]
		encoded := AppendAck(nil, a)
		b.Run(fmt.Sprintf("append/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 2048)
			for b.Loop() {
				dst = AppendAck(dst[:0], a)
			}
		})
		b.Run(fmt.Sprintf("parse/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			ranges := make([]AckRange, 0, MaxAckRanges)
			for b.Loop() {
				if _, _, err := ParseAck(encoded, ranges); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
