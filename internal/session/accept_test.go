package session

import (
	"context"
	"testing"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestAcceptAboveTheLimit: more streams than were asked for are no answer; the
// next one is.
func TestAcceptAboveTheLimit(t *testing.T) {
	h := newHostile(t)
	dialled := make(chan *Session, 1)
	go func() {
		s, err := h.peer.Dial(context.Background(), Request{Service: "test", Streams: 2})
		if err != nil {
			t.Error(err)
		}
		dialled <- s
	}()
	m := <-h.e.control
	r, ok := m.(wire.SessionRequest)
	if !ok || r.Streams != 2 {
		t.Fatalf("got %+v, want a request for 2 streams", m)
	}
	h.send(wire.SessionAccept{Session: r.Session, Streams: 3})
	h.send(wire.SessionAccept{Session: r.Session, Streams: 1})
	s := <-dialled
	if s == nil {
		t.FailNow()
	}
	if s.Limit() != 1 || h.peer.Stats()[countJunk] != 1 {
		t.Errorf("the session has a limit of %d streams, %d answers are counted as junk; want 1 and 1", s.Limit(), h.peer.Stats()[countJunk])
	}
}
