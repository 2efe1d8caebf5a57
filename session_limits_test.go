package carrier_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

const mostStreams = 1024 // that a session may have

// TestStoppedReaders: 1,023 streams that nobody reads, each as full as it gets,
// and one that goes on at full speed beside them.
func TestStoppedReaders(t *testing.T) {
	limit, size := mostStreams, 32<<20
	if testing.Short() {
		limit, size = 64, 2<<20
	}
	bubbleWithDelay(t, time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "stopped", &carrier.SessionOptions{Streams: limit})
		var stopped []*carrier.Stream
		var filling sync.WaitGroup
		var mu sync.Mutex
		held := 0
		for range limit - 1 {
			x, y := streamBetween(t, a, b, nil)
			stopped = append(stopped, y)
			filling.Go(func() {
				if err := x.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Error(err)
				}
				k, err := x.Write(make([]byte, 1<<20))
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Write to a stopped reader: %d bytes, %v; want it to wait", k, err)
				}
				mu.Lock()
				held += k
				mu.Unlock()
			})
		}
		filling.Wait()
		x, y := streamBetween(t, a, b, nil)
		sent := randomBytes(size, 1)
		begun := time.Now()
		go func() {
			_, _ = x.Write(sent) // the other end compares
			_ = x.CloseWrite()
		}()
		if got, err := io.ReadAll(y); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the one that is read: %d bytes, %v; want all %d", len(got), err, len(sent))
		}
		took := time.Since(begun)
		t.Logf("%d MiB in %v (virtual) beside %d streams that nobody reads, which hold %d MiB", size>>20, took, limit-1, held>>20)
		if rate := float64(size) / took.Seconds(); rate < 20e6 {
			t.Errorf("it went at %.0f MB/s (virtual, 2 ms round trips), want full speed", rate/1e6)
		}
		// And those go on as soon as they are read.
		if k, err := io.CopyN(io.Discard, stopped[0], 256<<10); err != nil {
			t.Errorf("a stopped reader that goes on: %d bytes, %v", k, err)
		}
		a.Abort("enough")
		<-b.Done()
	})
}

// TestManyStreams: with a limit of 1,024 as many echo at once, and the next is
// refused.
func TestManyStreams(t *testing.T) {
	bubbleWithDelay(t, 10*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "many", &carrier.SessionOptions{Streams: 5000}) // more than there may be
		if a.Streams() != mostStreams || b.Streams() != mostStreams {
			t.Fatalf("the session has limits of %d and %d streams, want %d", a.Streams(), b.Streams(), mostStreams)
		}
		go func() {
			for {
				s, err := b.AcceptStream(t.Context())
				if err != nil {
					return
				}
				go echoConn(s)
			}
		}()
		var streams []*carrier.Stream
		for range mostStreams {
			s, err := a.OpenStream(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		for name, opts := range map[string]*carrier.StreamOptions{
			"reliable": nil, "bulk": {Bulk: true}, "datagram": {Mode: carrier.Datagram},
		} {
			if _, err := a.OpenStream(t.Context(), opts); !errors.Is(err, carrier.ErrTooManyStreams) {
				t.Errorf("stream 1,025, %s: %v, want ErrTooManyStreams", name, err)
			}
		}
		var talking sync.WaitGroup
		for i, s := range streams {
			talking.Go(func() {
				if err := talkTo(s, randomBytes(4000, uint64(i))); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			})
		}
		talking.Wait()
		time.Sleep(time.Second)
		s, err := a.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatalf("after all were closed: %v", err)
		}
		if err := talkTo(s, []byte("room again")); err != nil {
			t.Error(err)
		}
	})
}

// TestListenerLimit: the lower limit of both ends counts; the one that asked is
// told.
func TestListenerLimit(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		l := p.listen(t, "small", &carrier.ListenOptions{Streams: 3})
		go func() {
			if r, err := l.Accept(t.Context()); err == nil {
				_, _ = r.Accept() // its end is the other's business
			}
		}()
		s, err := p.ab.NewSession(within(t, patience), "small", nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Streams() != 3 {
			t.Errorf("Streams = %d, want 3", s.Streams())
		}
		for i := range 4 {
			_, err := s.OpenStream(t.Context(), nil)
			if (i < 3) != (err == nil) || i == 3 && !errors.Is(err, carrier.ErrTooManyStreams) {
				t.Errorf("stream %d of 3: %v", i+1, err)
			}
		}
	})
}

// TestManySessions: 100 on one link; those that nobody reads do not hold up the
// others, and messages go on too.
func TestManySessions(t *testing.T) {
	const sessions = 100
	bubbleWithDelay(t, 5*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		ln, err := p.bob.Listen("echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		l := p.listen(t, "stopped", nil)
		go func() {
			for {
				r, err := l.Accept(t.Context())
				if err != nil {
					return
				}
				_, _ = r.Accept() // nobody reads its streams
			}
		}()
		var talking, filling sync.WaitGroup
		begun := time.Now()
		for i := range sessions {
			if i%2 == 0 {
				s, err := p.ab.NewSession(within(t, patience), "stopped", nil)
				if err != nil {
					t.Fatal(err)
				}
				x, err := s.OpenStream(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				filling.Go(func() { _, _ = x.Write(make([]byte, 2<<20)) }) // until the end
				continue
			}
			c, err := p.ab.Dial(within(t, patience), "echo")
			if err != nil {
				t.Fatal(err)
			}
			talking.Go(func() {
				if err := talkTo(c, randomBytes(64<<10, uint64(i))); err != nil {
					t.Errorf("session %d: %v", i, err)
				}
			})
		}
		talking.Wait()
		t.Logf("%d sessions opened, half of them echo 64 KiB, in %v (virtual)", sessions, time.Since(begun))
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("it took %v, want a few seconds", took)
		}
		m := p.alice.send(p.bob.ID(), "beside the sessions")
		p.alice.delivered(m)
		if got := p.bob.next(); got.courier != carrier.CourierLink {
			t.Errorf("a message beside the sessions came by %s, want link", got.courier)
		}
		p.bob.stop()
		filling.Wait()
	})
}

// TestManyDialsAtOnce: what is asked for at the same moment is served.
func TestManyDialsAtOnce(t *testing.T) {
	bubbleWithDelay(t, 5*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		ln, err := p.bob.Listen("echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		go serveEcho(ln)
		var dialling sync.WaitGroup
		for i := range 120 {
			dialling.Go(func() {
				c, err := p.ab.Dial(within(t, patience), "echo")
				if err == nil {
					err = talkTo(c, randomBytes(1000, uint64(i)))
				}
				if err != nil {
					t.Errorf("dial %d: %v", i, err)
				}
			})
		}
		dialling.Wait()
	})
}

// TestSessionMemory: when all sessions together hold more than they may, the
// largest is closed, with that reason.
func TestSessionMemory(t *testing.T) {
	bubbleWithDelay(t, time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := &pair{alice: newPerson(t, n, "Alice")}
		p.bob = &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: "Bob", Net: n.Host(), SessionMemory: 4 << 20}}
		p.bob.start()
		p.ab, p.ba = befriend(p.alice, p.bob)
		p.linked(t)
		smallA, smallB := p.session(t, "small", nil)
		x, y := streamBetween(t, smallA, smallB, nil)
		write(t, x, "few bytes")
		largeA, largeB := p.session(t, "large", &carrier.SessionOptions{Streams: 1})
		full, _ := streamBetween(t, largeA, largeB, nil)
		if _, err := full.Write(make([]byte, 16<<20)); !errors.Is(err, carrier.ErrOverBudget) {
			t.Errorf("Write of what the friend has no memory for: %v, want ErrOverBudget", err)
		}
		<-largeB.Done()
		for name, s := range map[string]*carrier.Session{"Alice's": largeA, "Bob's": largeB} {
			if !errors.Is(s.Err(), carrier.ErrOverBudget) {
				t.Errorf("%s session ended with %v, want ErrOverBudget", name, s.Err())
			}
		}
		if _, err := io.ReadFull(y, make([]byte, 9)); err != nil || smallB.Err() != nil {
			t.Errorf("the small session: %v, %v; want it to go on", err, smallB.Err())
		}
	})
}
