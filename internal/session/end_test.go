package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestSessionClose: the friend gets all that was written, streams that it has
// not accepted yet included, and learns that it was closed in order.
func TestSessionClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(256)
		sent := random(200_000, 1)
		for _, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}} {
			st, err := a.OpenStream(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if o != nil && o.Mode == Datagram {
				for n := range 100 {
					if _, err := st.Write(sent[1000*n : 1000*(n+1)]); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			if _, err := st.Write(sent); err != nil {
				t.Fatal(err)
			}
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := a.AcceptStream(context.Background())
			waiting <- err
		}()
		synctest.Wait()
		start := time.Now()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if time.Since(start) != 0 {
			t.Errorf("Close took %v", time.Since(start))
		}
		if err := <-waiting; !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("AcceptStream: got %v, want ErrClosed", err)
		}
		if _, err := a.OpenStream(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("OpenStream: got %v, want ErrClosed", err)
		}
		<-a.Done()
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("the end took %v", took)
		}
		<-b.Done()
		for range 3 {
			st, err := b.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want, got := sent, []byte(nil)
			if st.Mode() == Datagram {
				want = sent[:100_000]
				buf := make([]byte, 1000)
				for err == nil {
					n := 0
					n, err = st.Read(buf)
					got = append(got, buf[:n]...)
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
			} else {
				got, err = io.ReadAll(st)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("mode %d: read %d bytes, %v; want %d", st.Mode(), len(got), err, len(want))
			}
			if _, err := st.Write([]byte{1}); !errors.Is(err, ErrPeerClosed) {
				t.Errorf("mode %d: write: got %v, want ErrPeerClosed", st.Mode(), err)
			}
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.AcceptStream(t.Context()); !errors.Is(err, ErrPeerClosed) {
			t.Errorf("AcceptStream: got %v, want ErrPeerClosed", err)
		}
		if err := a.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("Err: %v, want ErrClosed", err)
		}
	})
}

// TestCrossedCloses: both ends close at once.
func TestCrossedCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(256)
		stream(t, a, b, nil)
		for _, s := range []*Session{a, b} {
			s.Close()
		}
		for _, s := range []*Session{a, b} {
			<-s.Done()
			var e *Error
			if err := s.Err(); !errors.As(err, &e) || !errors.Is(e.Cause, ErrClosed) || e.Err != nil {
				t.Errorf("got %v, want ErrClosed alone", err)
			}
		}
	})
}

// TestDrainEnds: a friend that takes nothing does not hold a closed session for
// ever.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 0)
		a, b := p.connect(256)
		x, _ := stream(t, a, b, nil)
		a.lane.(*fakeLane).out.window = 0 // from here on nothing gets through
		go func() { _, _ = x.Write(make([]byte, 100_000)) }()
		synctest.Wait()
		start := time.Now()
		a.Close()
		<-a.Done()
		if took := time.Since(start); took != drainTime {
			t.Errorf("the end took %v, want %v", took, drainTime)
		}
		var e *Error
		if !errors.As(a.Err(), &e) || !errors.Is(e.Cause, ErrClosed) || !errors.Is(e, errDrain) {
			t.Errorf("got %v, want ErrClosed and that not all arrived", a.Err())
		}
	})
}

func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(256)
		var ends []*Stream
		for _, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}} {
			x, y := stream(t, a, b, o)
			ends = append(ends, x, y)
			if _, err := x.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
		if err := ends[0].CloseWrite(); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Millisecond)
		a.Abort(42, "out of cheese")
		a.Abort(43, "again")
		<-a.Done()
		<-b.Done()
		for i, s := range []*Session{a, b} {
			var e *Error
			if err := s.Err(); !errors.As(err, &e) || !errors.Is(e.Cause, ErrAborted) || e.Remote != (i == 1) || e.Code != 42 || e.Reason != "out of cheese" {
				t.Errorf("end %d: %v", i, err)
			}
			if _, err := s.OpenStream(t.Context(), nil); !errors.Is(err, ErrAborted) {
				t.Errorf("end %d: OpenStream: %v", i, err)
			}
			if _, err := s.AcceptStream(t.Context()); !errors.Is(err, ErrAborted) {
				t.Errorf("end %d: AcceptStream: %v", i, err)
			}
		}
		for i, st := range ends {
			// What had come is gone, and is not taken for the end.
			if _, err := st.Read(make([]byte, 10)); !errors.Is(err, ErrAborted) {
				t.Errorf("stream end %d: read: got %v, want ErrAborted", i, err)
			}
			if _, err := st.Write([]byte{1}); !errors.Is(err, ErrAborted) && i != 0 {
				t.Errorf("stream end %d: write: got %v, want ErrAborted", i, err)
			}
		}
	})
}

// TestLinkLost: everything ends with the link's error, who waits included.
func TestLinkLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(256)
		var waiting int
		failed := make(chan error)
		wait := func(f func() error) {
			waiting++
			go func() { failed <- f() }()
		}
		for _, o := range []*StreamOptions{nil, {Mode: Datagram}, {Bulk: true}} {
			x, _ := stream(t, a, b, o)
			wait(func() error { _, err := x.Read(make([]byte, 10)); return err })
			if o == nil || o.Bulk {
				wait(func() error { _, err := x.Write(make([]byte, 10<<20)); return err })
			}
		}
		wait(func() error { _, err := a.AcceptStream(context.Background()); return err })
		wait(func() error {
			_, err := p.a.Dial(context.Background(), Request{Service: "test"})
			return err
		})
		asked := <-p.asked
		closing, _ := p.connect(1)
		closing.Close()
		p.kill(errUnplugged)
		for range waiting {
			if err := <-failed; !errors.Is(err, ErrLinkLost) || !errors.Is(err, errUnplugged) {
				t.Errorf("got %v, want ErrLinkLost and the link's error", err)
			}
		}
		if _, err := asked.Accept(nil); !errors.Is(err, ErrLinkLost) {
			t.Errorf("Accept: got %v, want ErrLinkLost", err)
		}
		<-asked.Done()
		if _, err := p.a.Dial(t.Context(), Request{Service: "test"}); !errors.Is(err, errUnplugged) {
			t.Errorf("Dial: got %v, want the link's error", err)
		}
		if err := b.Err(); !errors.Is(err, ErrLinkLost) {
			t.Errorf("got %v, want ErrLinkLost", err)
		}
		if err := closing.Err(); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrLinkLost) {
			t.Errorf("a session that was closing: %v", err)
		}
	})
}

// TestDialContext: who gives up a request withdraws it.
func TestDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.a.Dial(ctx, Request{Service: "test"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		r := <-p.asked
		<-r.Done()
		if _, err := r.Accept(nil); !errors.Is(err, ErrWithdrawn) {
			t.Errorf("Accept: got %v, want ErrWithdrawn", err)
		}
		if err := r.Refuse("no"); !errors.Is(err, ErrWithdrawn) {
			t.Errorf("Refuse: got %v, want ErrWithdrawn", err)
		}
		// The answer and the withdrawal cross.
		ctx, cancel = context.WithTimeout(t.Context(), 15*time.Millisecond)
		defer cancel()
		go func() { _, _ = p.a.Dial(ctx, Request{Service: "test"}) }()
		s, err := (<-p.asked).Accept(nil)
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if err := s.Err(); !errors.Is(err, ErrWithdrawn) {
			t.Errorf("got %v, want ErrWithdrawn", err)
		}
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		if _, err := p.a.Dial(cancelled, Request{Service: "test"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		a, _ := p.connect(1)
		for name, f := range map[string]func() (*Stream, error){
			"OpenStream":   func() (*Stream, error) { return a.OpenStream(cancelled, nil) },
			"AcceptStream": func() (*Stream, error) { return a.AcceptStream(cancelled) },
		} {
			if _, err := f(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}

// TestLanesUsedUp: what needs a lane fails with the link's error, and nothing
// else does.
func TestLanesUsedUp(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(4)
	p.endA.maxLanes = len(p.endA.open)
	if _, err := p.a.Dial(t.Context(), Request{Service: "test"}); !errors.Is(err, errTooManyLanes) {
		t.Errorf("Dial: got %v", err)
	}
	if _, err := a.OpenStream(t.Context(), &StreamOptions{Bulk: true}); !errors.Is(err, errTooManyLanes) {
		t.Errorf("OpenStream: got %v", err)
	}
	stream(t, a, b, nil)
}

// TestOverBudget: the session that holds most is closed, others go on; what it
// held is free at once.
func TestOverBudget(t *testing.T) {
	p := newPair(t, 0)
	p.budgetB.limit = 4 << 20
	small, smallB := p.connect(1)
	x, y := stream(t, small, smallB, nil)
	if _, err := x.Write(make([]byte, 500_000)); err != nil {
		t.Fatal(err)
	}
	// One that the friend has closed holds, too, what was not read.
	left, leftB := p.connect(1)
	z, w := stream(t, left, leftB, nil)
	if _, err := z.Write(make([]byte, 1_500_000)); err != nil {
		t.Fatal(err)
	}
	left.Close()
	<-leftB.Done()
	large, largeB := p.connect(1)
	u, v := stream(t, large, largeB, nil)
	go func() { _, _ = u.Write(make([]byte, 3<<20)) }()
	<-largeB.Done()
	<-large.Done()
	for i, s := range []*Session{largeB, large} {
		var e *Error
		if !errors.As(s.Err(), &e) || !errors.Is(e.Cause, ErrOverBudget) || e.Remote != (i == 1) {
			t.Errorf("end %d: %v, want ErrOverBudget", i, s.Err())
		}
	}
	if _, err := v.Read(make([]byte, 10)); !errors.Is(err, ErrOverBudget) {
		t.Errorf("read: got %v, want ErrOverBudget", err)
	}
	counted := func() uint64 { return p.b.Stats()[countOverBudget] }
	for begun := time.Now(); counted() == 0 && time.Since(begun) < 10*time.Second; { // just after Done is closed
		time.Sleep(time.Millisecond)
	}
	if n := counted(); n != 1 {
		t.Errorf("%d sessions are counted, want 1", n)
	}
	if got, err := io.ReadAll(io.LimitReader(y, 500_000)); err != nil || len(got) != 500_000 {
		t.Errorf("the small session: %d bytes, %v", len(got), err)
	}
	if _, err := io.ReadAll(w); err != nil && !errors.Is(err, ErrOverBudget) {
		t.Errorf("the closed session: %v", err)
	}
	for _, st := range []*Stream{w, y} {
		st.Close()
	}
	if used := p.budgetB.Used(); used > 2*sessionCost {
		t.Errorf("%d bytes are charged for one session that holds nothing", used)
	}
}

// TestEndedSessionOverBudget: what is left of a session that the friend has
// closed is dropped when memory is needed, and that is not taken for its end.
func TestEndedSessionOverBudget(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(1)
	x, y := stream(t, a, b, nil)
	if _, err := x.Write(make([]byte, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	<-b.Done()
	p.budgetB.limit = 100_000
	p.budgetB.relieve()
	if used := p.budgetB.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	if _, err := y.Read(make([]byte, 10)); !errors.Is(err, ErrOverBudget) {
		t.Errorf("got %v, want ErrOverBudget", err)
	}
}

// TestCloseAfterEnd: closing a session that the friend has closed lets go of
// what nobody read, streams that were never accepted included.
func TestCloseAfterEnd(t *testing.T) {
	p := newPair(t, 0)
	a, b := p.connect(4)
	stream(t, a, b, nil)
	for _, o := range []*StreamOptions{nil, {Mode: Datagram}} {
		st, err := a.OpenStream(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	<-b.Done()
	if p.budgetB.Used() == 0 {
		t.Error("nothing is held before")
	}
	b.Close()
	if used := p.budgetB.Used(); used != 0 {
		t.Errorf("%d bytes are held after", used)
	}
	if err := b.Err(); !errors.Is(err, ErrPeerClosed) {
		t.Errorf("got %v, want ErrPeerClosed still", err)
	}
}
