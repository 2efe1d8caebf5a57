package reliable

import (
	"errors"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestAutoTuning: windows grow to what a fast reader on a long path needs, up to the Config, and stay where the reader is
// slow.
func TestAutoTuning(t *testing.T) {
	for _, c := range []struct {
		name       string
		pause      time.Duration // of the reader
		lane, link uint64
	}{
		{"fast reader", 0, 4 << 20, 6 << 20},
		{"slow reader", 500 * ms, wire.InitialLaneWindow, wire.InitialLinkWindow},
	} {
		b := Config{LaneWindow: 4 << 20, LinkWindow: 6 << 20, Controller: fixedWindow(64 << 20)}
		l := newLine(t, 25*ms, Config{Controller: fixedWindow(64 << 20)}, b)
		l.run(time.Second) // LANES
		id := l.a.open().ID()
		l.b.greedy = c.pause == 0
		for range 60 {
			for l.a.write(id, 64<<10) > 0 {
			}
			l.run(max(c.pause, 10*ms))
			if c.pause > 0 && l.b.known[id] != nil {
				for range 5 {
					if _, err := l.b.read(id, 64<<10); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		in := &l.b.known[id].in
		if in.window.size != c.lane || l.b.linkIn.size != c.link {
			t.Errorf("%s: windows of %d and %d, want %d and %d", c.name, in.window.size, l.b.linkIn.size, c.lane, c.link)
		}
		if in.read < 10<<20 {
			t.Errorf("%s: only %d bytes were read", c.name, in.read)
		}
	}
}

// TestLinkKeepsAhead: the link's window is half as large again as the largest lane's, so that one lane that waits for its
// reader leaves room.
func TestLinkKeepsAhead(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	in := &e.known[1].in
	in.read, in.next, in.highest = in.window.limit/2, in.window.limit/2, in.window.limit/2
	for want := uint64(1 << 20); want <= 16<<20; want *= 2 {
		e.raiseLane(e.known[1])
		if in.window.size != want || e.linkIn.size < want+want/2 {
			t.Fatalf("windows of %d and %d, want %d and half as much again", in.window.size, e.linkIn.size, want)
		}
		in.read = in.window.limit - 1
		in.next, in.highest = in.read, in.read
	}
}

// TestStoppedLanes: readers that stop hold up no other lane, as long as the Config has room for what they hold.
func TestStoppedLanes(t *testing.T) {
	const stopped = 20
	big := fixedWindow(64 << 20)
	l := newLine(t, 25*ms, Config{Controller: big}, Config{Controller: big})
	l.run(time.Second)
	for range stopped {
		l.a.open()
	}
	for range 60 {
		for id := uint64(1); id < 2*stopped; id += 2 {
			for l.a.write(id, 64<<10) > 0 {
			}
		}
		l.run(100 * ms)
	}
	for id := uint64(1); id < 2*stopped; id += 2 {
		if n := l.b.known[id].in.next; n != wire.InitialLaneWindow {
			t.Fatalf("%d bytes on stopped lane %d, want a full window", n, id)
		}
	}
	live := l.a.open()
	const size = 5 << 20
	began := l.now
	done := l.until(l.now+10*time.Second, func() bool {
		id := live.ID()
		for l.a.put[id] < size && l.a.write(id, int(min(size-l.a.put[id], 64<<10))) > 0 {
		}
		for l.b.known[id] != nil {
			if n, err := l.b.read(id, 64<<10); n == 0 || err != nil {
				break
			}
		}
		return l.b.got[id] == size
	})
	if !done || l.now-began > 2*time.Second {
		t.Errorf("%d bytes in %v beside %d stopped lanes", l.b.got[live.ID()], l.now-began, stopped)
	}
}

// TestCreditReturned: what is never read of lanes that were reset or stopped does not count for ever.
func TestCreditReturned(t *testing.T) {
	for _, how := range []string{"reset", "stop", "stop after the end"} {
		l := newLine(t, 5*ms, Config{Controller: fixedWindow(8 << 20)}, Config{LinkWindow: 1 << 20, LaneWindow: 1 << 20})
		l.run(time.Second)
		for range 20 {
			lane := l.a.open()
			id := lane.ID()
			for l.a.put[id] < 400_000 {
				if l.a.write(id, int(min(400_000-l.a.put[id], 64<<10))) == 0 {
					l.run(50 * ms)
				}
			}
			if how == "stop after the end" {
				if err := lane.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			l.run(100 * ms)
			if n := l.b.known[id].in.next; n != 400_000 {
				t.Fatalf("%s: lane %d: %d bytes have come: no credit is left", how, id, n)
			}
			if how == "reset" {
				lane.Reset(1)
			} else {
				l.b.known[id].Stop(1)
			}
			if err := l.b.known[id].CloseWrite(); err != nil {
				t.Fatal(err)
			}
			l.run(200 * ms)
			if l.a.ended[id] != 1 && how == "reset" || l.b.ended[id] != 1 {
				t.Fatalf("%s: lane %d is not over: %d, %d", how, id, l.a.ended[id], l.b.ended[id])
			}
		}
		if l.b.Machine.read != l.b.received || l.b.Stats().Unread != 0 {
			t.Errorf("%s: %d of %d bytes count as read", how, l.b.Machine.read, l.b.received)
		}
	}
}

// TestCreditLost: window frames that are lost come again.
func TestCreditLost(t *testing.T) {
	l := newLine(t, 25*ms, Config{}, Config{})
	l.b.greedy = true
	id := l.a.open().ID()
	for pn := range uint64(400) {
		l.b.drop[pn] = pn%3 != 0
	}
	const size = 3 << 20
	if !l.until(time.Minute, func() bool {
		for l.a.put[id] < size && l.a.write(id, int(min(size-l.a.put[id], 64<<10))) > 0 {
		}
		return l.b.got[id] == size
	}) {
		t.Errorf("%d of %d bytes", l.b.got[id], size)
	}
}

// TestLaneCredit: lanes that are over let new ones be opened, without end.
func TestLaneCredit(t *testing.T) {
	l := newLine(t, ms, Config{}, Config{Lanes: 130})
	l.a.greedy, l.b.greedy = true, true
	for pn := range uint64(10_000) {
		l.b.drop[pn] = pn%4 == 1 // frames of credit too
	}
	l.run(time.Second)
	opened := 0
	var open []*Lane
	for opened < 1000 {
		lane, err := l.a.Open()
		if err == nil {
			opened++
			open = append(open, lane)
			if err := lane.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, ErrTooManyLanes) {
			t.Fatal(err)
		}
		if len(open) == 0 {
			t.Fatalf("no lane is open, and none can be opened after %d", opened)
		}
		l.run(20 * ms)
		if n := l.b.Stats().Lanes; n > 131 {
			t.Fatalf("%d lanes open at once", n)
		}
		for _, lane := range open {
			if err := l.b.known[lane.ID()].CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		open = nil
		told := false
		if told = l.until(l.now+10*time.Second, func() bool { return l.a.mayOpen > l.a.opened }); !told {
			t.Fatalf("no credit after %d lanes", opened)
		}
	}
	l.run(time.Second)
	if n := len(l.b.ended); n < 900 {
		t.Errorf("%d lanes are over", n)
	}
}
