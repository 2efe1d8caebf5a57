package courier

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// ownProfile is where our profile stands towards a peer, and theirs towards us.
type ownProfile struct {
	sent    uint64 // version that went out directly in this run
	put     uint64 // version that is stored
	seq     int64
	queued  bool
	putting bool
	tries   int

	want    uint64 // version of theirs that their state names
	reading bool
	misses  int
}

// profileChanged has the peer told of our profile.
func (p *peer) profileChanged() {
	if p.c.profile == nil || p.c.closing || !p.present() {
		return
	}
	p.tellSoon()
	if p.c.isReady {
		p.soon(taskProfile)
	}
}

// befriended reports whether the peer is somebody that our profile is for.
func (p *peer) befriended() bool {
	return p.mode.Publish && p.present() && p.c.handler.Assemble(p.id).Relation == wire.RelationFriend
}

func (p *peer) signProfile() []byte {
	o := p.c.profile
	return p.sign(signProfile, o.Incarnation, o.Version, wire.AppendProfile(nil, o))
}

// profileDue reports whether a peer that is online lacks our profile: it is sent
// once a run and link.
func (p *peer) profileDue() bool {
	o := p.c.profile
	return o != nil && p.profile.sent < o.Version && p.befriended()
}

// putProfile puts our profile, when the budget allows, and reads the peer's.
func (p *peer) putProfile() {
	p.readProfile()
	o := &p.profile
	if p.c.profile == nil || !p.c.isReady || p.c.mute() || o.queued || o.putting || !p.befriended() {
		return
	}
	o.queued = true
	p.c.budget.run(classWalk, costPut, func() {
		o.queued = false
		if !p.stopped && !p.c.mute() && p.c.profile != nil {
			p.putProfileNow()
		}
	})
}

func (p *peer) putProfileNow() {
	o := &p.profile
	version := p.c.profile.Version
	week := crypto.Week(p.c.loop.Now())
	key, value := p.sealSlot(week, saltProfile, wire.KindProfile, p.signProfile())
	o.seq = p.c.seq(p.c.rising.next(p.c), o.seq)
	o.putting = true
	put := Put{Key: key, Salt: saltProfile, Value: value, Seq: o.seq, Direct: o.put < version && o.tries == 0, Not: p.notCopies()}
	p.c.then(func() {
		p.c.slots.Put(put, func(r PutResult) {
			o.putting = false
			if p.stopped || p.c.mute() {
				return
			}
			if r.Newer >= o.seq && r.Newer != 0 {
				if uint64(r.Newer) <= tooFar(p.c.loop.Now()) {
					o.seq = r.Newer
				} else {
					p.c.count("fault.ahead")
				}
			}
			if _, ok := r.complete(); !ok {
				o.tries++
				p.after(taskProfile, p.c.jitter(backoff(o.tries, 5*time.Second, 30*time.Minute)))
				return
			}
			o.put, o.tries = version, 0
			if p.c.profile != nil && p.c.profile.Version > version {
				p.soon(taskProfile)
				return
			}
			p.after(taskProfile, p.c.jitter(itemLife))
		})
	})
}

// noteProfile takes the version of the peer's profile that their state names.
func (p *peer) noteProfile(version uint64) {
	if version > p.profileRead && version > p.profile.want {
		p.profile.want = version
		p.soon(taskProfile)
	}
}

// readProfile looks for the peer's profile while a newer one is known to exist.
func (p *peer) readProfile() {
	o := &p.profile
	if o.want <= p.profileRead || o.reading || !p.c.isReady || p.c.closing || !p.present() {
		return
	}
	if wait, ok := p.effort.take(effortLimit(), p.c.loop.Now()); !ok {
		p.c.count("effort.held")
		p.after(taskProfile, wait)
		return
	}
	o.reading = true
	weeks := p.readWeeks(o.misses > 0)
	p.c.budget.run(classWalk, costWalk*len(weeks), func() {
		if p.stopped {
			return
		}
		open := len(weeks)
		for _, w := range weeks {
			key := p.theirSlots(w)
			p.c.then(func() {
				p.c.slots.Get(Query{Key: key, Salt: saltProfile}, func(i Item) {
					if p.stopped || p.c.closed {
						return
					}
					if body := p.openSlot(crypto.In, w, saltProfile, wire.KindProfile, i); body != nil {
						p.acceptProfile(body, ViaDHT)
					}
				}, func(Health) {
					if open--; open > 0 || p.stopped || p.c.closed {
						return
					}
					o.reading = false
					if o.want > p.profileRead {
						o.misses++
						p.after(taskProfile, p.c.jitter(backoff(o.misses, 10*time.Second, 2*time.Hour)))
					}
				})
			})
		}
	})
}

// forgetProfile has the profile of somebody whom we removed, which is not kept, read
// anew if they become a friend again.
func (p *peer) forgetProfile() {
	p.profile.want = 0
	if p.profileRead != 0 {
		p.profileRead = 0
		p.save()
	}
}

// acceptProfile takes a profile of the peer, if it is the newest.
func (p *peer) acceptProfile(body []byte, via Via) {
	c := p.c
	sig, record, err := wire.ParseSigned(body)
	if err != nil {
		c.count("drop.malformed")
		return
	}
	r, err := wire.ParseProfile(record)
	switch {
	case err != nil:
		c.countParse(err)
		return
	case r.Version < p.profileRead, p.theirs != nil && r.Version < p.theirs.Profile:
		c.count("drop.replay.profile")
		return
	case r.Version == p.profileRead:
		return
	case !p.admit(via), !p.verify(signProfile, r.Incarnation, r.Version, sig, record):
		return
	}
	p.profileRead = r.Version
	p.profile.misses = 0
	p.save()
	c.handler.OnProfile(p.id, r)
}
