package courier

import (
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// maxSkew is how far off our clock may be before it is told: tags and envelope
// keys need it right within an hour.
const maxSkew = time.Hour

// skewEvery is the least time between two tellings, as friends may change what
// they say as often as they like.
const skewEvery = time.Hour

// skews remembers whether the engine has been told of a wrong clock, and when.
type skews struct {
	told bool
	at   time.Time
}

// judgeClock compares our clock with the signed time of a new state record. A
// time ahead of ours speaks for itself; one behind only if the record has just
// been made: it is fresh, or was not there when we last looked. Whom we
// refused or removed has no say.
func (p *peer) judgeClock(s *wire.State, via Via) {
	if !p.present() {
		return
	}
	now := p.c.loop.Now()
	behind := time.UnixMilli(s.Time).Sub(now)
	fresh := p.fresh(s.Version, via) || via == ViaDHT && !p.looking.fresh.IsZero() && now.Sub(p.looking.fresh) < recent
	if behind > maxSkew || fresh {
		if !fresh || behind < -maxSkew-recent || behind > -maxSkew {
			p.setSkew(behind)
		}
	}
}

// setSkew takes how far our clock is behind the peer's, and tells of it when
// two friends agree that it is off, and the way.
func (p *peer) setSkew(behind time.Duration) {
	if behind.Abs() <= maxSkew {
		behind = 0
	}
	if p.skew == behind {
		return
	}
	p.skew = behind
	c := p.c
	least := func(ahead bool) (n int, d time.Duration) {
		for _, q := range c.peers {
			if q.skew != 0 && (q.skew < 0) == ahead {
				if n++; d == 0 || q.skew.Abs() < d.Abs() {
					d = q.skew
				}
			}
		}
		return n, d
	}
	n, d := least(false)
	if m, e := least(true); m > n {
		n, d = m, e
	}
	switch {
	case n < 2 && c.skews.told:
		c.skews.told = false
		c.handler.OnClockSkew(0)
	case n < 2:
	case !c.skews.told && (c.skews.at.IsZero() || c.loop.Now().Sub(c.skews.at).Abs() >= skewEvery):
		c.skews.told, c.skews.at = true, c.loop.Now()
		c.count("clock.skew")
		c.handler.OnClockSkew(d)
	}
}
