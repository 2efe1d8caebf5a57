package carrier

import (
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
)

// TestFactsOfTheNode: what a node is told of itself can be asked afterwards, and
// stands in the snapshot of who comes later, until it is over.
func TestFactsOfTheNode(t *testing.T) {
	n, err := Start(t.Context(), Config{Ephemeral: true, NoBootstrap: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	f, err := n.AddFriend(t.Context(), Address{ID: crypto.NewIdentity().ID()}, "")
	if err != nil {
		t.Fatal(err)
	}
	snapshot := func() (all []Event) {
		for ev := range n.Events(t.Context()) {
			if _, ok := ev.(Synced); ok {
				break
			}
			if _, ok := ev.(FriendChanged); !ok {
				all = append(all, ev)
			}
		}
		return all
	}
	news := n.Events(t.Context()) // subscribed here
	tell := func(what func(handler)) {
		e := n.engine
		if err := e.do(t.Context(), "tell", func() error { what(handler{e}); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, connected bool, warnings ...Event) {
		t.Helper()
		if n.Connected() != connected {
			t.Errorf("%s: Connected = %t", when, !connected)
		}
		if got := n.Warnings(); !reflect.DeepEqual(got, warnings) {
			t.Errorf("%s: Warnings = %v, want %v", when, got, warnings)
		}
		if got, want := snapshot(), append([]Event{Connected{connected}}, warnings...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the snapshot is %v, want %v", when, got, want)
		}
	}
	check("at first", false)

	tell(func(h handler) {
		h.OnTwin(courier.Twin{Yield: true})
		h.OnClockSkew(2 * time.Hour)
		h.OnPeerNewer(f.id, 9)
		h.e.Then(func() { h.e.tell(Connected{true}) })
	})
	_, twin, _ := n.engine.known.get()
	if !twin.Yields || time.Since(twin.Since).Abs() > time.Minute {
		t.Errorf("the twin is %+v", twin)
	}
	check("when all is told", true, twin, ClockSkew{2 * time.Hour}, PeerNewer{f, 9})

	tell(func(h handler) { h.OnClockSkew(-3 * time.Hour) })
	check("another skew", true, twin, ClockSkew{-3 * time.Hour}, PeerNewer{f, 9})
	gone := IdentityInUse{Gone: true, Since: time.Now()}
	tell(func(h handler) {
		h.OnClockSkew(0)
		h.e.Then(func() { h.e.tell(gone) })
	})
	check("when it is over", true, PeerNewer{f, 9})
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	check("without the friend", true)

	var told []Event
read:
	for ev := range news {
		switch ev.(type) {
		case IdentityInUse, ClockSkew, PeerNewer:
			told = append(told, ev)
		case Synced:
			told = nil
		case FriendChanged:
			if len(told) > 0 { // that it is removed: the last
				break read
			}
		}
	}
	if want := []Event{twin, ClockSkew{2 * time.Hour}, PeerNewer{f, 9}, ClockSkew{-3 * time.Hour}, ClockSkew{}, gone}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}

	if err := n.Err(); err != nil {
		t.Errorf("Err of a running node = %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Err(); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrFailed) {
		t.Errorf("Err of a closed node = %v, want net.ErrClosed alone", err)
	}
	for range n.Events(t.Context()) {
		t.Error("an event of a closed node")
	}
	if n.Connected() {
		t.Error("a closed node is connected")
	}
}
