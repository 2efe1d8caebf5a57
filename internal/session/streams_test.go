package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// random is bytes that repeat nowhere.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // never fails
	return b
}

// echo serves every stream of s.
func echo(s *Session, work *sync.WaitGroup) {
	for {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		work.Go(func() {
			_, _ = io.Copy(st, st) // the other end compares
			_ = st.Close()
		})
	}
}

// TestStoppedReaders: 1,023 streams that nobody reads, full to their windows,
// and one that goes on at full speed.
func TestStoppedReaders(t *testing.T) {
	limit := 1024
	if testing.Short() {
		limit = 64 // the same windows, in less memory
	}
	p := newPair(t, 0)
	a, b := p.connect(limit)
	var full sync.WaitGroup
	for range limit - 1 {
		x, _ := stream(t, a, b, nil)
		full.Go(func() {
			n, err := x.Write(make([]byte, minWindow+1))
			if n != minWindow || !errors.Is(err, ErrPeerClosed) && !errors.Is(err, ErrStreamClosed) {
				t.Errorf("%d bytes were taken, %v; want %d and the end", n, err, minWindow)
			}
		})
	}
	for p.budgetB.Used() < int64(limit-1)*minWindow {
		time.Sleep(time.Millisecond)
	}
	x, y := stream(t, a, b, nil)
	const size = 32 << 20
	sent := random(1<<20, 1)
	go func() {
		for range size / len(sent) {
			if _, err := x.Write(sent); err != nil {
				t.Error(err)
				return
			}
		}
		if err := x.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	start := time.Now()
	got := make([]byte, len(sent))
	for range size / len(sent) {
		if _, err := io.ReadFull(y, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Fatal("bytes differ")
		}
	}
	if _, err := y.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
	held := p.budgetB.Used()
	t.Logf("%.0f MB/s beside %d full streams, which hold %d MiB", size/1e6/time.Since(start).Seconds(), limit-1, held>>20)
	if want := int64(limit-1) * minWindow; held < want {
		t.Errorf("the budget counts %d bytes, %d are held", held, want)
	}
	b.Close()
	full.Wait()
	<-a.Done()
	<-b.Done()
}

// TestManyStreams: 1,024 at once, each way, byte for byte; the next is refused.
func TestManyStreams(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(1024)
	var serving, asking sync.WaitGroup
	go echo(b, &serving)
	var streams []*Stream
	for range 1024 {
		st, err := a.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	for _, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}} {
		if _, err := a.OpenStream(t.Context(), o); !errors.Is(err, ErrTooManyStreams) {
			t.Errorf("stream 1,025 (%+v): got %v, want ErrTooManyStreams", o, err)
		}
	}
	for i, st := range streams {
		asking.Go(func() {
			sent := random(10_000, uint64(i))
			go func() {
				_, _ = st.Write(sent) // what comes back is compared
				_ = st.CloseWrite()
			}()
			if got, err := io.ReadAll(st); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes came back, %v", i, len(got), err)
			}
			_ = st.Close()
		})
	}
	asking.Wait()
	serving.Wait()
	if st, err := a.OpenStream(t.Context(), nil); err != nil {
		t.Errorf("after all have been closed: %v", err)
	} else {
		_ = st.Close()
	}
	a.Close()
	<-a.Done()
	<-b.Done()
}

// TestManySessions: 100 on one link, none held up by those that are not read.
func TestManySessions(t *testing.T) {
	size := 1 << 20
	if testing.Short() {
		size = 64 << 10
	}
	p := newPair(t, 0)
	var full, serving, asking sync.WaitGroup
	for i := range 100 {
		a, b := p.connect(256)
		if i%2 == 0 {
			x, _ := stream(t, a, b, nil)
			full.Go(func() { _, _ = x.Write(make([]byte, 4<<20)) }) // until the end
			continue
		}
		go echo(b, &serving)
		asking.Go(func() {
			st, err := a.OpenStream(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			sent := random(size, uint64(i))
			go func() {
				_, _ = st.Write(sent) // what comes back is compared
				_ = st.CloseWrite()
			}()
			if got, err := io.ReadAll(st); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("session %d: %d bytes came back, %v", i, len(got), err)
			}
			_ = st.Close()
		})
	}
	asking.Wait()
	if n := len(p.a.Sessions()); n != 100 {
		t.Errorf("%d sessions, want 100", n)
	}
	p.kill(errUnplugged)
	full.Wait()
	serving.Wait()
}

// TestGoroutines: a session takes two at each end, a stream none.
func TestGoroutines(t *testing.T) {
	p := newPair(t, 0)
	settled := func() int {
		time.Sleep(20 * time.Millisecond)
		return runtime.NumGoroutine()
	}
	before := settled()
	var sessions [][2]*Session
	for range 20 {
		a, b := p.connect(64)
		sessions = append(sessions, [2]*Session{a, b})
	}
	with := settled()
	if n := with - before; n > 20*2*2 {
		t.Errorf("20 sessions take %d goroutines at both ends, want at most 80", n)
	}
	for _, s := range sessions {
		for _, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}} {
			x, y := stream(t, s[0], s[1], o)
			for _, st := range []*Stream{x, y} {
				if err := st.SetDeadline(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if n := settled() - with; n > 0 {
		t.Errorf("120 ends of streams take %d goroutines, want none", n)
	}
}

// TestSessionMemory: what a quiet session holds, both ends.
func TestSessionMemory(t *testing.T) {
	p := newPair(t, 0)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p.connect(256)
	before := heap()
	const n = 50
	var kept []*Session
	for range n {
		a, b := p.connect(256)
		kept = append(kept, a, b)
	}
	each := (int64(heap()) - int64(before)) / n
	t.Logf("a quiet session holds %d bytes at both ends", each)
	if each > 2*sessionCost {
		t.Errorf("a quiet session holds %d bytes at both ends; the budget counts %d an end", each, sessionCost)
	}
	runtime.KeepAlive(kept)
}

// kinds are the reliable ones.
func kinds(t *testing.T, f func(t *testing.T, o *StreamOptions)) {
	for name, o := range map[string]*StreamOptions{"reliable": nil, "bulk": {Bulk: true}} {
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

// TestHalfClose: after CloseWrite the other direction goes on, and nothing that
// came before the end is lost, however late it is read.
func TestHalfClose(t *testing.T) {
	kinds(t, func(t *testing.T, o *StreamOptions) {
		p := newPair(t, 0)
		a, b := p.connect(256)
		x, y := stream(t, a, b, o)
		question, answer := random(200_000, 1), random(200_000, 2)
		if _, err := x.Write(question); err != nil {
			t.Fatal(err)
		}
		if err := x.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after CloseWrite: got %v, want net.ErrClosed", err)
		}
		if err := x.CloseWrite(); err != nil {
			t.Errorf("second CloseWrite: %v", err)
		}
		if _, err := y.Write(answer); err != nil {
			t.Fatal(err)
		}
		if err := y.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // both ends have finished, and neither has read
		for i, c := range []struct {
			st   *Stream
			want []byte
		}{{y, question}, {x, answer}} {
			if got, err := io.ReadAll(c.st); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("end %d read %d bytes, %v; want %d", i, len(got), err, len(c.want))
			}
			if n, err := c.st.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("end %d: read %d, %v after the end", i, n, err)
			}
			if err := c.st.Close(); err != nil {
				t.Error(err)
			}
		}
		if a.count+b.count != 0 {
			t.Errorf("streams are counted after both ends have closed: %d and %d", a.count, b.count)
		}
	})
}

// TestClose: Close returns at once, what was written arrives, and a peer that
// writes on learns that nobody reads.
func TestClose(t *testing.T) {
	kinds(t, func(t *testing.T, o *StreamOptions) {
		p := newPair(t, time.Millisecond)
		a, b := p.connect(256)
		x, y := stream(t, a, b, o)
		sent := random(100_000, 1)
		if _, err := x.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(y); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(sent))
		}
		var err error
		for range 100 { // more than any window
			if _, err = y.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrStreamClosed) {
			t.Errorf("write to who has closed: got %v, want ErrStreamClosed", err)
		}
		for _, st := range []*Stream{x, y} {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
			if _, err := st.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
			if _, err := st.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after Close: %v", err)
			}
			if err := st.CloseWrite(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("CloseWrite after Close: %v", err)
			}
		}
	})
}

// TestDeadlines: a Write that meets its deadline says exactly how much was
// taken, a Read loses nothing, and both go on afterwards.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, time.Millisecond)
		a, b := p.connect(256)
		x, y := stream(t, a, b, nil)
		sent := random(4<<20, 1)
		read := make(chan []byte)
		go func() {
			var got []byte
			for len(got) < len(sent) {
				time.Sleep(3 * time.Millisecond)
				if err := y.SetReadDeadline(time.Now().Add(time.Microsecond)); err != nil {
					t.Error(err)
				}
				p := make([]byte, 100_000)
				n, err := y.Read(p)
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
					break
				}
				got = append(got, p[:n]...)
			}
			read <- got
		}()
		timeouts := 0
		for n := 0; n < len(sent); {
			if err := x.SetWriteDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			p := bytes.Clone(sent[n:])
			k, err := x.Write(p)
			clear(p) // the memory is the caller's again
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && errors.Is(err, os.ErrDeadlineExceeded) {
				timeouts++
			} else if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if timeouts == 0 {
			t.Error("no Write met its deadline")
		}
		if got := <-read; !bytes.Equal(got, sent) {
			t.Errorf("read %d bytes that differ from the %d sent", len(got), len(sent))
		}
	})
}

// TestWritersTakeTurns: while the lane is slow, streams share it evenly.
func TestWritersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(16)
		a.lane.(*fakeLane).out.window = 64 << 10 // a lane that takes little at once
		var counts [8]atomic.Int64
		for i := range counts {
			x, y := stream(t, a, b, nil)
			go func() {
				buf := make([]byte, 1<<20)
				for {
					if _, err := x.Write(buf); err != nil {
						return
					}
				}
			}()
			go func() {
				buf := make([]byte, 1<<20)
				for {
					n, err := y.Read(buf)
					if err != nil {
						return
					}
					counts[i].Add(int64(n))
					time.Sleep(time.Millisecond)
				}
			}()
		}
		time.Sleep(10 * time.Millisecond)
		p.kill(errUnplugged)
		time.Sleep(2 * time.Millisecond) // the readers notice
		least, most := int64(math.MaxInt64), int64(0)
		for i := range counts {
			n := counts[i].Load()
			t.Logf("stream %d got %d bytes", i, n)
			least, most = min(least, n), max(most, n)
		}
		if least == 0 || most > 2*least {
			t.Error("that is not even")
		}
	})
}

// TestStreamsOfTheOtherEnd: both ends open streams, under one limit.
func TestStreamsOfTheOtherEnd(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(4)
	for i, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}, nil} {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		x, y := stream(t, from, to, o)
		go func() { _, _ = x.Write([]byte("hi")) }() // compared below
		buf := make([]byte, 10)
		if n, err := y.Read(buf); err != nil || string(buf[:n]) != "hi" {
			t.Errorf("stream %d: %q, %v", i, buf[:n], err)
		}
		if got := fmt.Sprint(x.LocalAddr(), y.RemoteAddr(), x.Mode() == y.Mode(), x.Session() == from); got != "here/test/1 friend/test/1 true true" {
			t.Errorf("stream %d: %s", i, got)
		}
	}
	for _, s := range []*Session{a, b} {
		if _, err := s.OpenStream(t.Context(), nil); !errors.Is(err, ErrTooManyStreams) {
			t.Errorf("fifth stream: %v", err)
		}
		if s.Limit() != 4 {
			t.Errorf("limit %d, want 4", s.Limit())
		}
	}
}

// TestCrossedOpens: when both ends open the last stream at once, those that are
// too many end with the error of the limit, and the session goes on.
func TestCrossedOpens(t *testing.T) {
	for name, o := range map[string]*StreamOptions{"reliable": nil, "bulk": {Bulk: true}, "datagram": {Mode: Datagram}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 10*time.Millisecond)
				a, b := p.connect(1)
				x, err := a.OpenStream(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				y, err := b.OpenStream(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Millisecond)
				for i, st := range []*Stream{x, y} {
					if _, err := st.Write([]byte("x")); !errors.Is(err, ErrTooManyStreams) {
						t.Errorf("end %d: write: got %v, want ErrTooManyStreams", i, err)
					}
					if err := st.Close(); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(30 * time.Millisecond)
				if a.count+b.count != 0 {
					t.Errorf("streams are counted after both were refused: %d and %d", a.count, b.count)
				}
				stream(t, a, b, o)
			})
		})
	}
}
