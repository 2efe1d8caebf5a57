package session

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestCloseAheadOfTheRest: a session's lane ends before what was said and sent
// beside it has arrived; that is waited for, and no longer than lingerTime.
func TestCloseAheadOfTheRest(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "never told": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHostile(t)
				s, l := h.session(4)
				start := time.Now()
				if err := l.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(lingerTime / 2)
				if err := s.Err(); err != nil {
					t.Fatalf("ended with its lane: %v", err)
				}
				flow := uint64(1)
				h.send(wire.SessionFlowOpen{Session: l.id, Flow: flow})
				h.send(wire.SessionFlowClose{Session: l.id, Flow: flow, Cause: wire.FlowFinished, Sent: 1})
				if told {
					h.send(wire.SessionEnd{Session: l.id})
				}
				time.Sleep(lingerTime / 4)
				if err := s.Err(); err != nil {
					t.Fatalf("ended before the last datagram: %v", err)
				}
				if err := (fakeDatagrams{h.e}).Send(l.id, flow, []byte("last")); err != nil {
					t.Fatal(err)
				}
				<-s.Done()
				want := lingerTime
				if told {
					want = lingerTime * 3 / 4
				}
				if took := time.Since(start); took != want || !errors.Is(s.Err(), ErrPeerClosed) {
					t.Errorf("ended after %v with %v, want after %v with ErrPeerClosed", took, s.Err(), want)
				}
				st, err := s.AcceptStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 10)
				if n, err := st.Read(b); err != nil || string(b[:n]) != "last" {
					t.Errorf("read %q, %v", b[:n], err)
				}
				if _, err := st.Read(b); !errors.Is(err, io.EOF) {
					t.Errorf("read %v, want EOF", err)
				}
				s.Close()
			})
		})
	}
}

// TestCrossedClosesFlush: an end that the other has closed meanwhile is not done
// before what it has written has arrived.
func TestCrossedClosesFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 10*time.Millisecond)
		a, b := p.connect(256)
		const slow = time.Second
		out := a.lane.(*fakeLane).out
		out.mu.Lock()
		out.delay = slow
		out.mu.Unlock()
		x, err := a.OpenStream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write([]byte("written before the end")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		a.Close()
		b.Close()
		<-a.Done()
		if took := time.Since(start); took < slow {
			t.Errorf("done after %v, what it has written takes %v", took, slow)
		}
		<-b.Done()
		for _, s := range []*Session{a, b} {
			var e *Error
			if err := s.Err(); !errors.As(err, &e) || !errors.Is(e.Cause, ErrClosed) || e.Err != nil {
				t.Errorf("got %v, want ErrClosed alone", err)
			}
		}
	})
}
