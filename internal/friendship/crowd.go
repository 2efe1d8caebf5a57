package friendship

import (
	"math/rand/v2"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Requests cost their makers nothing and nothing in them tells an honest one, so
// a flood cannot be kept out; but it must not shut out who comes later. A request
// that is new is therefore taken however many there are: where there is no place
// left, another gives way, drawn so that nobody can aim. It is dropped without an
// answer, and may be found again. Then it has lost its claim to be shown at once:
// it displaces another only when its turn comes, or else what floods the DHT
// would churn through our places for as long as it stands there.

// stranger reports whether the person's request needs one of the places that are
// bounded: we have never asked them, nor were they a friend.
func (p *person) stranger() bool { return p.ours == 0 }

// keepRequest notes their pending request, in place of an earlier one.
func (m *Machine) keepRequest(p *person, r *wire.Request) {
	if p.theirRequest == nil && p.stranger() {
		m.incoming++
	}
	p.theirRequest = r
}

// dropRequest forgets their pending request.
func (m *Machine) dropRequest(p *person) {
	if p.theirRequest != nil {
		p.theirRequest = nil
		if p.stranger() {
			m.incoming--
		}
	}
	if p.state == Incoming {
		p.state = None
	}
}

// claim is a request by whom and to which of our addresses it was.
type claim struct {
	from   crypto.ID
	nospam crypto.Nospam
}

// room reports whether one more request can be pending, and has another give way
// where it must.
func (m *Machine) room(now time.Time, p *person, r *wire.Request) bool {
	if !p.stranger() || m.incoming < MaxIncoming {
		return true
	}
	c := claim{r.From, r.Nospam}
	if m.crowded[c] {
		if d := now.Sub(m.turned); d >= 0 && d < turnEvery {
			return false
		}
		m.turned = now
		delete(m.crowded, c)
	}
	victim := m.victim(r.Nospam)
	m.crowd(claim{victim.id, victim.theirRequest.Nospam})
	m.dropRequest(victim)
	m.event(victim, RequestWithdrawn)
	m.changed(victim)
	return true
}

// victim draws the request that gives way to one for the address of that nospam:
// of those that came by another address, if there are any, else of all. Whoever
// has flooded an old address must not be in the way of those who know the new one.
func (m *Machine) victim(nospam crypto.Nospam) (drawn *person) {
	n, stale := 0, false
	for _, p := range m.people {
		if p.theirRequest == nil || !p.stranger() {
			continue
		}
		switch old := p.theirRequest.Nospam != nospam; {
		case old && !stale:
			stale, n = true, 0
		case !old && stale:
			continue
		}
		if n++; rand.IntN(n) == 0 {
			drawn = p
		}
	}
	return drawn
}

// crowd remembers whose request gave way, within bounds.
func (m *Machine) crowd(c claim) {
	for other := range m.crowded {
		if len(m.crowded) < MaxCrowded {
			break
		}
		delete(m.crowded, other)
	}
	m.crowded[c] = true
}
