package carrier_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// datagramBubble runs a test on a datagram stream from Alice to Bob.
func datagramBubble(t *testing.T, opts *carriertest.Options, test func(t *testing.T, x, y *carrier.Stream)) {
	t.Helper()
	t.Parallel()
	bubbleWith(t, opts, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "datagrams", nil)
		x, y := streamBetween(t, a, b, &carrier.StreamOptions{Mode: carrier.Datagram})
		for _, s := range []*carrier.Stream{x, y} {
			if s.Mode() != carrier.Datagram {
				t.Errorf("Mode = %s, want datagram", s.Mode())
			}
		}
		test(t, x, y)
	})
}

// TestDatagramBoundaries: one Write is one Read, whatever its length, the empty
// one and the longest included.
func TestDatagramBoundaries(t *testing.T) {
	datagramBubble(t, nil, func(t *testing.T, x, y *carrier.Stream) {
		most := x.MaxDatagramSize()
		if most < 1000 || most > 1200 {
			t.Errorf("MaxDatagramSize = %d, want about 1,150", most)
		}
		buf := make([]byte, 2*most)
		for i, size := range []int{0, 1, 2, 100, most - 1, most} {
			sent := randomBytes(size, uint64(i))
			if n, err := x.Write(sent); n != size || err != nil {
				t.Fatalf("Write of %d bytes = %d, %v", size, n, err)
			}
			if n, err := y.Read(buf); err != nil || string(buf[:n]) != string(sent) {
				t.Errorf("Read %d bytes, %v; want the %d that were sent", n, err, size)
			}
		}
		// Several that wait do not run together.
		for _, text := range []string{"one", "", "three"} {
			write(t, x, text)
		}
		synctest.Wait()
		for _, want := range []string{"one", "", "three"} {
			if n, err := y.Read(buf); err != nil || string(buf[:n]) != want {
				t.Errorf("Read %q, %v; want %q", buf[:n], err, want)
			}
		}
	})
}

// TestDatagramShortBuffer: the rest is lost, the next is whole.
func TestDatagramShortBuffer(t *testing.T) {
	datagramBubble(t, nil, func(t *testing.T, x, y *carrier.Stream) {
		write(t, x, "too long for that")
		write(t, x, "next")
		buf := make([]byte, 8)
		if n, err := y.Read(buf); n != 8 || !errors.Is(err, io.ErrShortBuffer) || string(buf[:n]) != "too long" {
			t.Errorf("Read = %q, %v; want the first 8 bytes and io.ErrShortBuffer", buf[:n], err)
		}
		if n, err := y.Read(buf); err != nil || string(buf[:n]) != "next" {
			t.Errorf("Read = %q, %v; want the next datagram, whole", buf[:n], err)
		}
	})
}

// TestDatagramTooLong: it is not sent, and the stream lives.
func TestDatagramTooLong(t *testing.T) {
	datagramBubble(t, nil, func(t *testing.T, x, y *carrier.Stream) {
		if n, err := x.Write(make([]byte, x.MaxDatagramSize()+1)); n != 0 || !errors.Is(err, carrier.ErrTooLong) {
			t.Errorf("Write = %d, %v; want 0, ErrTooLong", n, err)
		}
		write(t, x, "short")
		buf := make([]byte, 100)
		if n, err := y.Read(buf); err != nil || string(buf[:n]) != "short" {
			t.Errorf("Read = %q, %v; want the short one", buf[:n], err)
		}
	})
}

// TestDatagramAfterClose: what was sent before the friend's close is read, then
// io.EOF; writing to who reads no more is ErrPeerClosed; our own close is
// net.ErrClosed.
func TestDatagramAfterClose(t *testing.T) {
	datagramBubble(t, nil, func(t *testing.T, x, y *carrier.Stream) {
		write(t, x, "last words")
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		buf := make([]byte, 100)
		if n, err := y.Read(buf); err != nil || string(buf[:n]) != "last words" {
			t.Errorf("Read = %q, %v; want what was sent before the close", buf[:n], err)
		}
		for range 2 {
			if b, err := io.ReadAll(y); len(b) != 0 || err != nil {
				t.Errorf("after the friend's close %d bytes were read, %v; want io.EOF", len(b), err)
			}
		}
		if _, err := y.Write([]byte("anybody?")); !errors.Is(err, carrier.ErrPeerClosed) {
			t.Errorf("Write after the friend's close: %v, want ErrPeerClosed", err)
		}
		for name, err := range map[string]error{"Read": second(x.Read(buf)), "Write": second(x.Write(buf))} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after our own close: %v, want net.ErrClosed", name, err)
			}
		}
	})
}

// TestDatagramHalfClose: CloseWrite ends one direction only.
func TestDatagramHalfClose(t *testing.T) {
	datagramBubble(t, nil, func(t *testing.T, x, y *carrier.Stream) {
		write(t, x, "asked")
		if err := x.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := y.Read(buf); err != nil || string(buf[:n]) != "asked" {
			t.Errorf("Read = %q, %v", buf[:n], err)
		}
		if _, err := y.Read(buf); !errors.Is(err, io.EOF) {
			t.Errorf("Read after CloseWrite: %v, want io.EOF", err)
		}
		write(t, y, "answered")
		if n, err := x.Read(buf); err != nil || string(buf[:n]) != "answered" {
			t.Errorf("Read = %q, %v", buf[:n], err)
		}
	})
}

// TestDatagramsMayBeLostNeverTwice: on a bad line some are lost, and none comes
// twice or changed, though the line doubles and reorders.
func TestDatagramsMayBeLostNeverTwice(t *testing.T) {
	opts := &carriertest.Options{Seed: 1, Delay: 10 * time.Millisecond, Loss: 0.05, Duplicate: 0.1, Reorder: 0.1}
	datagramBubble(t, opts, func(t *testing.T, x, y *carrier.Stream) {
		const count = 1000
		go func() {
			b := make([]byte, 600)
			for i := range uint64(count) {
				binary.BigEndian.PutUint64(b, i)
				if _, err := x.Write(b); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			_ = x.Close() // the end of what is read
		}()
		seen := map[uint64]bool{}
		buf := make([]byte, 2000)
		for {
			n, err := y.Read(buf)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			i := binary.BigEndian.Uint64(buf)
			if n != 600 || i >= count || seen[i] {
				t.Fatalf("datagram %d of %d bytes, seen before: %t", i, n, seen[i])
			}
			seen[i] = true
		}
		t.Logf("%d of %d datagrams came at 5 %% of loss", len(seen), count)
		if len(seen) == count {
			t.Error("none was lost: the line was not bad, or datagrams are sent again")
		}
		if len(seen) < count*85/100 {
			t.Errorf("%d of %d came, want about 95 %%", len(seen), count)
		}
	})
}

// TestDatagramsNobodyReads: the oldest are dropped, the newest stay, nobody
// blocks, and other streams go on.
func TestDatagramsNobodyReads(t *testing.T) {
	opts := &carriertest.Options{Delay: time.Millisecond}
	datagramBubble(t, opts, func(t *testing.T, x, y *carrier.Stream) {
		const count = 2000
		b := make([]byte, 1000)
		for i := range uint64(count) {
			binary.BigEndian.PutUint64(b, i)
			begun := time.Now()
			if _, err := x.Write(b); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != 0 {
				t.Fatalf("Write %d blocked for %v", i, took)
			}
			time.Sleep(time.Millisecond)
		}
		s, d := streamBetween(t, x.Session(), y.Session(), nil)
		write(t, s, "beside it")
		if _, err := io.ReadFull(d, make([]byte, 9)); err != nil {
			t.Errorf("another stream: %v", err)
		}
		time.Sleep(time.Second)
		if err := y.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for {
			if _, err := y.Read(b); err != nil {
				break
			}
			got = append(got, binary.BigEndian.Uint64(b))
		}
		if len(got) == 0 || len(got) == count || got[len(got)-1] != count-1 {
			t.Fatalf("%d datagrams waited, want some of %d and the last of them", len(got), count)
		}
		for i, k := range got {
			if k != got[0]+uint64(i) {
				t.Fatalf("datagram %d follows %d: one in between was dropped, want the oldest", k, got[i-1])
			}
		}
	})
}
