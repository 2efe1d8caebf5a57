package transport

import (
	"testing"
	"time"
)

const liveTrip = 50 * time.Millisecond

// live steps a liveness from now on until a verdict or the end; pings are sent
// as questions.
func live(v *liveness, now, until time.Duration, busy bool) (at time.Duration, d verdict, pings int) {
	for now < until {
		next := v.next(liveTrip, busy)
		if next > until {
			return until, verdict{}, pings
		}
		now = max(now, next)
		d := v.advance(now, liveTrip, busy)
		if d.ping {
			pings++
			v.asked(now)
		}
		if d.suspect || d.dead {
			return now, d, pings
		}
	}
	return now, verdict{}, pings
}

// TestLivenessSilence: from silence to death, idle and with lanes open.
func TestLivenessSilence(t *testing.T) {
	for _, c := range []struct {
		name           string
		busy           bool
		asked          time.Duration // something was sent then; noTime: nothing
		suspect, death time.Duration
	}{
		{"idle", false, noTime, 7500 * time.Millisecond, 19500 * time.Millisecond},
		{"lanes open", true, noTime, 1500 * time.Millisecond, 13500 * time.Millisecond},
		{"idle, then sending", false, 2 * time.Second, 2500 * time.Millisecond, 14500 * time.Millisecond},
		{"sending at once", false, 0, 1500 * time.Millisecond, 13500 * time.Millisecond},
	} {
		v := newLiveness()
		v.asked(c.asked)
		at, d, _ := live(&v, 0, time.Minute, c.busy)
		if !d.suspect || at != c.suspect || !v.suspect() {
			t.Errorf("%s: %+v after %v, want suspect after %v", c.name, d, at, c.suspect)
		}
		at, d, _ = live(&v, at, time.Minute, c.busy)
		if !d.dead || at != c.death {
			t.Errorf("%s: %+v after %v, want dead after %v", c.name, d, at, c.death)
		}
	}
}

// TestLivenessRecovers: a link that is suspect again and again, and heard in
// between, never dies, and is asked no more than it must.
func TestLivenessRecovers(t *testing.T) {
	v := newLiveness()
	now := time.Duration(0)
	for round := range 100 {
		at, d, pings := live(&v, now, now+time.Minute, true)
		if !d.suspect {
			t.Fatalf("round %d: %+v at %v, want suspect", round, d, at)
		}
		if pings > 1 {
			t.Errorf("round %d: %d pings", round, pings)
		}
		now = at + deadAfter - time.Millisecond
		if d := v.advance(now, liveTrip, true); d.dead || d.suspect {
			t.Fatalf("round %d: %+v before its time", round, d)
		}
		if !v.heard(now) || v.suspect() {
			t.Fatalf("round %d: not recovered", round)
		}
		if v.heard(now) {
			t.Fatalf("round %d: recovered twice", round)
		}
	}
}

// TestLivenessDoubt: what is doubted for a reason from outside is dead after as
// long, and not suspect twice.
func TestLivenessDoubt(t *testing.T) {
	v := newLiveness()
	if !v.doubt(time.Second) || v.doubt(2*time.Second) {
		t.Error("doubt begins other than once")
	}
	if at, d, _ := live(&v, time.Second, time.Minute, false); !d.dead || at != time.Second+deadAfter {
		t.Errorf("%+v after %v, want dead after %v", d, at, time.Second+deadAfter)
	}
}

// TestLivenessIdle: while the peer answers it is asked each 7 s, with lanes open
// each second, and next never lies in the past once advance was called.
func TestLivenessIdle(t *testing.T) {
	for _, c := range []struct {
		busy bool
		want int
	}{{false, 8}, {true, 57}} {
		v := newLiveness()
		pings := 0
		for now := time.Duration(0); now < time.Minute; {
			if d := v.advance(now, liveTrip, c.busy); d.suspect || d.dead {
				t.Fatalf("%+v of a peer that answers", d)
			} else if d.ping {
				pings++
				v.asked(now)
				v.heard(now + liveTrip)
			}
			next := v.next(liveTrip, c.busy)
			if next <= now {
				t.Fatalf("it wants to be called at %v when it is %v", next, now)
			}
			now = next
		}
		if pings != c.want {
			t.Errorf("busy %v: %d pings in a minute, want %d", c.busy, pings, c.want)
		}
	}
	// A long round trip is given its time.
	v := newLiveness()
	v.asked(0)
	if at := v.suspectTime(2 * time.Second); at != suspectTrips*2*time.Second {
		t.Errorf("suspect after %v at a round trip of 2 s", at)
	}
}
