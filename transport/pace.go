package transport

import "time"

// pace lets something happen burst times at once, and then once in every.
// Its zero value with both set has not been used yet.
type pace struct {
	every time.Duration
	burst int
	full  time.Time // when all of the burst is there again
}

// at returns when it may happen again: now or later.
func (p *pace) at(now time.Time) time.Time {
	if t := p.full.Add(-time.Duration(p.burst-1) * p.every); t.After(now) {
		return t
	}
	return now
}

// spend counts one that happens now.
func (p *pace) spend(now time.Time) {
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.every)
}
