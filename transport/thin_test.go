package transport

import (
	"testing"
	"time"
)

// TestThinning steps an agent that wants to check an address each 50 ms, as pion does.
func TestThinning(t *testing.T) {
	const tick = 50 * time.Millisecond
	checks := func(r *muxRemote, from, until time.Duration) (sent []time.Duration) {
		for at := from; at < until; at += tick {
			if now := time.Unix(0, 0).Add(at); r.refuses(now) == dropNone {
				r.sent(now)
				sent = append(sent, at)
			}
		}
		return sent
	}
	r := &muxRemote{}
	sent := checks(r, 0, 85*time.Second)
	if len(sent) != thinLimit {
		t.Errorf("%d checks in 85 s of silence, want %d", len(sent), thinLimit)
	}
	for i, at := range sent[:thinBurst] {
		if at != time.Duration(i)*tick {
			t.Errorf("check %d went after %v, want as it came", i, at)
		}
	}
	for i := thinBurst; i < len(sent); i++ {
		if gap := sent[i] - sent[i-1]; gap < thinInterval || gap > thinSlowInterval {
			t.Errorf("check %d went %v after the one before it, want %v to %v", i, gap, thinInterval, thinSlowInterval)
		}
	}
	if last := sent[len(sent)-1]; last < 80*time.Second {
		t.Errorf("the last check went after %v, want them to last an attempt's 85 s", last)
	}
	if got := r.refuses(time.Unix(1e6, 0)); got != dropCheckLimit {
		t.Errorf("after the last check: %v, want %v", got, dropCheckLimit)
	}

	r = &muxRemote{}
	if got := len(checks(r, 0, 3*time.Second)); got != 14 { // 10, then at 1.05, 1.65, 2.25 and 2.85 s
		t.Errorf("%d checks in 3 s of silence, want 14", got)
	}
	before := r.checks
	r.heard = true
	if got := len(checks(r, 3*time.Second, 4*time.Second)); got != 20 {
		t.Errorf("%d checks in a second after something was heard, want 20", got)
	}
	if got := before + 20 + len(checks(r, 4*time.Second, time.Minute)); got != thinLimit {
		t.Errorf("%d checks to who was heard and never answered, want %d", got, thinLimit)
	}
	r.answered = true
	if got := len(checks(r, time.Minute, 2*time.Minute)); got != 1200 {
		t.Errorf("%d checks in a minute to who answered, want all 1200", got)
	}
}
