package transport

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
)

// TestFinish: what a finished link was given before arrives before its CLOSE, and
// its program waits for nothing.
func TestFinish(t *testing.T) {
	for name, way := range map[string]lab.Link{
		"good":  {Delay: 25 * time.Millisecond},
		"lossy": {Delay: 25 * time.Millisecond, Loss: 0.2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := join(t, &way, 9)
				a, _ := j.lane(t)
				go func() { _, _ = a.Write(make([]byte, 1<<20)) }() // what is behind it may be lost
				body := noise(1, 4000)
				if err := j.a.SendControl(1, body); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				j.a.finish("enough")
				if !errors.Is(j.a.Err(), ErrClosed) {
					t.Errorf("the link's own error is %v", j.a.Err())
				}
				if err := j.a.SendControl(1, nil); !errors.Is(err, ErrClosed) {
					t.Errorf("a message after finish: %v", err)
				}
				said := j.a.finishing()
				if said == nil {
					t.Fatal("nothing waits to arrive")
				}
				<-said
				if took := time.Since(begun); took < 50*time.Millisecond || took > drainFor {
					t.Errorf("CLOSE after %v, want a round trip", took)
				}
				<-j.b.Done()
				var closed *CloseError
				if err := j.b.Err(); !errors.As(err, &closed) || closed.Code != CodeUnwanted || closed.Reason != "enough" {
					t.Errorf("the peer's error is %v", err)
				}
				<-j.a.stopped
				<-j.b.stopped
				if got := j.wb.got(); len(got) != 1 || !bytes.Equal(got[0].body, body) {
					t.Errorf("the peer got %d messages, want the one", len(got))
				}
			})
		})
	}
}

// TestFinishIsBounded: a peer that does not answer is waited for no longer than
// drainFor, one that is not heard any more not at all, nor one to whom nothing
// is under way; and hurry waits for nobody.
func TestFinishIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		silent  time.Duration // of the peer, before
		hurried bool
		nothing bool
		want    time.Duration
	}{
		"silent":      {want: drainFor},
		"suspect":     {silent: 4 * time.Second},
		"hurried":     {hurried: true},
		"nothing due": {nothing: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := join(t, &lab.Link{Delay: 25 * time.Millisecond}, 10)
				time.Sleep(time.Second) // what comes first is acknowledged
				if !test.nothing {
					j.mu.Lock()
					j.down = [2]bool{true, true}
					j.mu.Unlock()
					if err := j.a.SendControl(1, []byte("x")); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(test.silent)
				begun := time.Now()
				j.a.finish("")
				if test.hurried {
					j.a.hurry()
				}
				if said := j.a.finishing(); said != nil {
					<-said
				}
				if took := time.Since(begun); took != test.want {
					t.Errorf("CLOSE after %v, want %v", took, test.want)
				}
				<-j.a.stopped
				if took, most := time.Since(begun), test.want+linger; took > most || test.hurried && took > 0 {
					t.Errorf("over after %v, want %v at most", took, most)
				}
			})
		})
	}
}

// TestForgetLetsArrive: of a whole node, which may stop when Drain says so.
func TestForgetLetsArrive(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		defer b.stop()
		defer a.stop()
		a.Connect(b.id)
		la, lb := linked(a, b, time.Minute)
		if err := la.SendControl(1, []byte("farewell")); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		a.Forget(b.id, "")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := a.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain with no time: %v", err)
		}
		if err := a.Drain(t.Context()); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if took := time.Since(begun); took > 2*tripTime {
			t.Errorf("Drain took %v, want a round trip of %v", took, tripTime)
		}
		b.mu.Lock()
		if len(b.messages) != 1 || string(b.messages[0].body) != "farewell" {
			t.Errorf("when Drain had ended the peer had %d messages, want the one", len(b.messages))
		}
		b.mu.Unlock()
		<-lb.Done()
	})
}

// TestFinishOfAnUnconfirmedLink: it says nothing to a peer that may not be there,
// and is over at once.
func TestFinishOfAnUnconfirmedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRogue(t)
		if err := r.l.SendControl(1, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		r.packets()
		begun := time.Now()
		r.l.finish("enough")
		if r.l.finishing() != nil {
			t.Error("something waits to arrive")
		}
		<-r.l.stopped
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v, want nothing to be waited for", took)
		}
		if got := len(r.packets()); got != 0 {
			t.Errorf("%d packets more were sent, want none", got)
		}
		if !errors.Is(r.l.Err(), ErrClosed) {
			t.Errorf("the error is %v", r.l.Err())
		}
	})
}
