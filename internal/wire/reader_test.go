package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/gocarrier/carrier/crypto"
)

// TestReaderRow writes one of everything and reads it back.
func TestReaderRow(t *testing.T) {
	v4 := netip.MustParseAddrPort("192.0.2.1:1")
	b := AppendUint8(nil, 1)
	b = AppendUint16(b, 2)
	b = AppendUint32(b, 3)
	b = AppendUint64(b, 4)
	b = AppendTime(b, 5)
	b = AppendBool(b, true)
	b = AppendBool(b, false)
	b = AppendBytes8(b, []byte("eight"))
	b = AppendBytes16(b, nil)
	b = AppendBytes32(b, []byte("thirty-two"))
	b = AppendString8(b, "ä")
	b = AppendString16(b, "€")
	b = AppendIncarnation(b, crypto.Incarnation{Created: 6, Random: 7})
	b = AppendAddrPort(b, v4)
	b = AppendAddrPort(b, netip.AddrPort{})
	b = append(b, "fixed and the rest"...)
	r := NewReader(b)
	var fixed [5]byte
	got := []any{
		r.Uint8(), r.Uint16(), r.Uint32(), r.Uint64(), r.Time(), r.Bool(), r.Bool(), string(r.Bytes8(5)), r.Bytes16(0),
		string(r.Bytes32(10)), r.String8(2), r.String16(3), r.Incarnation(), r.AddrPort(), r.AddrPort(),
	}
	r.Fill(fixed[:])
	got = append(got, string(fixed[:]), r.Len(), string(r.Rest()), r.Done())
	want := []any{
		uint8(1), uint16(2), uint32(3), uint64(4), int64(5), true, false, "eight", []byte(nil),
		"thirty-two", "ä", "€",
		crypto.Incarnation{Created: 6, Random: 7},
		v4,
		netip.AddrPort{},
		"fixed", 13, " and the rest", nil,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestReaderSticks: after the first fault all is zero and the fault stays.
func TestReaderSticks(t *testing.T) {
	r := NewReader(bytes.Repeat([]byte{1}, 64))
	r.Bytes8(0) // length 1, at most 0
	first := r.Err()
	if !errors.Is(first, ErrValue) {
		t.Fatalf("got %v, want ErrValue", first)
	}
	fixed := [2]byte{9, 9}
	r.Fill(fixed[:])
	got := []any{
		r.Uint8(), r.Uint16(), r.Uint32(), r.Uint64(), r.Time(), r.Bool(), r.Bytes(3), r.Bytes8(9), r.Bytes16(9999),
		r.Bytes32(1 << 30), r.String8(9), r.String16(9999), r.Count(9), r.AddrPort(), r.Incarnation(), r.Sequence(), r.Range(),
		r.Rest(), r.Len(), r.Varint(), fixed,
	}
	want := []any{
		uint8(0), uint16(0), uint32(0), uint64(0), int64(0), false, []byte(nil), []byte(nil), []byte(nil),
		[]byte(nil), "", "", 0,
		netip.AddrPort{},
		crypto.Incarnation{},
		Sequence{},
		Range{},
		[]byte(nil), 0, uint64(0),
		[2]byte{9, 9},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	r.Fail(errors.New("another"))
	if err := r.Done(); err.Error() != first.Error() {
		t.Errorf("the fault became %v", err)
	}
}

// TestReaderFaults: what is read by the call that fails is zero too.
func TestReaderFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		read func(*Reader) any
		want error
	}{
		{"length above the rest", "\x05abc", func(r *Reader) any { return r.Bytes8(255) }, ErrShort},
		{"length above the limit", "\x05abcde", func(r *Reader) any { return r.Bytes8(4) }, ErrValue},
		{"16-bit length", "\x01\x00", func(r *Reader) any { return r.Bytes16(255) }, ErrValue},
		{"32-bit length", "\xff\xff\xff\xff", func(r *Reader) any { return r.Bytes32(1 << 20) }, ErrValue},
		{"32-bit length, no limit", "\xff\xff\xff\xff", func(r *Reader) any { return r.Bytes32(1<<31 - 1) }, ErrShort},
		{"not UTF-8", "\x01\xff", func(r *Reader) any { return r.String8(1) }, ErrValue},
		{"bool", "\x02", func(r *Reader) any { return r.Bool() }, ErrValue},
		{"time", "\x80\x00\x00\x00\x00\x00\x00\x00", func(r *Reader) any { return r.Time() }, ErrValue},
		{"count", "\x09", func(r *Reader) any { return r.Count(8) }, ErrValue},
		{"family", "\x05\x00\x00\x00\x00\x00\x00", func(r *Reader) any { return r.AddrPort() }, ErrValue},
		{"short address", "\x04\x00\x00", func(r *Reader) any { return r.AddrPort() }, ErrShort},
		{"short port", "\x04\x00\x00\x00\x00\x01", func(r *Reader) any { return r.AddrPort() }, ErrShort},
		{"trailing", "\x01\x02", func(r *Reader) any { return r.Uint8() }, ErrTrailing},
	} {
		r := NewReader([]byte(c.in))
		got := c.read(r)
		if faulty := r.Err() != nil; faulty && !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: gives %v with its fault", c.name, got)
		}
		if err := r.Done(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestReaderAllocatesLate: a length does not cost memory before it is checked.
func TestReaderAllocatesLate(t *testing.T) {
	r := NewReader([]byte("\x7f\xff\xff\xff"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.Bytes32(1<<31 - 1)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; !errors.Is(r.Err(), ErrShort) || used > 1<<20 {
		t.Errorf("%v, after %d bytes of memory", r.Err(), used)
	}
}

// TestNothingShared: what is decoded does not change with the input.
func TestNothingShared(t *testing.T) {
	shared := map[string]bool{ // these say that they share
		"plain": true, "envelope": true, "signed": true, "mailbody": true, "linkrecord": true, "packet": true, "data": true,
		"datagram": true,
	}
	for _, c := range codecs() {
		if shared[c.name] {
			continue
		}
		for _, s := range c.samples {
			b := c.append(nil, s.x)
			x, err := c.parse(b)
			if err != nil {
				t.Fatal(err)
			}
			clear(b)
			if !reflect.DeepEqual(x, s.x) {
				t.Errorf("%s %s changed with its input", c.name, s.name)
			}
		}
	}
}

// TestAppendAddrPort: mapped addresses and zones are not written.
func TestAppendAddrPort(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80":          "192.0.2.1:80",
		"[::ffff:192.0.2.1]:80": "192.0.2.1:80",
		"[fe80::1%eth0]:80":     "[fe80::1]:80",
		"[2001:db8::1]:0":       "[2001:db8::1]:0",
	} {
		r := NewReader(AppendAddrPort(nil, netip.MustParseAddrPort(in)))
		got := r.AddrPort()
		if err := r.Done(); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", in, got, err, want)
		}
	}
}

func TestMessageIDString(t *testing.T) {
	if got, want := messageID(0xab).String(), strings.Repeat("ab", 16); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkState(b *testing.B) {
	s := usualState()
	encoded := AppendState(nil, s)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = AppendState(dst[:0], s)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseState(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMail(b *testing.B) {
	m := itemMail(MaxSlotBody)
	encoded := AppendMail(nil, m)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = AppendMail(dst[:0], m)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseMail(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}
