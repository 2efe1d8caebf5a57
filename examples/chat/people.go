package main

import (
	"fmt"
	"sync"

	"github.com/gocarrier/carrier"
)

// people is what has been shown of friends and of requests, so that each change
// is shown once, whether a command, an event or a message was the first to know
// of it. Its lock is held while it shows, so that the order is right.
type people struct {
	node *carrier.Node
	show func(event)

	mu       sync.Mutex
	friends  map[carrier.ID]standing
	requests map[carrier.ID]carrier.FriendRequest
}

// standing is what was shown last of a friend.
type standing struct {
	state  carrier.FriendState
	online bool
}

// newPeople takes the friends as they are now for known.
func newPeople(node *carrier.Node, show func(event)) *people {
	p := &people{
		node: node, show: show,
		friends:  map[carrier.ID]standing{},
		requests: map[carrier.ID]carrier.FriendRequest{},
	}
	for _, f := range node.Friends() {
		p.friends[f.ID()] = standing{state: f.State()}
	}
	return p
}

// look shows what is new of one friend.
func (p *people) look(f *carrier.Friend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look1(f)
}

func (p *people) look1(f *carrier.Friend) {
	p.state(f.ID(), f.State())
	p.online(f.ID(), f.Online())
}

// lookAtAll shows what is new of everybody: where events were lost, or are not
// yet there.
func (p *people) lookAtAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	present := map[carrier.ID]bool{}
	for _, f := range p.node.Friends() {
		present[f.ID()] = true
		p.look1(f)
	}
	for id := range p.friends {
		if !present[id] {
			p.state(id, carrier.FriendNone)
		}
	}
	pending := map[carrier.ID]bool{}
	for _, r := range p.node.Requests() {
		pending[r.ID] = true
		p.request(r)
	}
	for id := range p.requests {
		if !pending[id] {
			delete(p.requests, id)
		}
	}
}

// became shows a friend's new state, as an event has told it.
func (p *people) became(id carrier.ID, state carrier.FriendState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state(id, state)
}

func (p *people) state(id carrier.ID, state carrier.FriendState) {
	was, known := p.friends[id]
	if was.state == state && (known || state == carrier.FriendNone) {
		return
	}
	switch state {
	case carrier.FriendPending, carrier.FriendStored:
		if was.state == carrier.FriendAccepted {
			return // an event from before the acceptance, which was seen without it
		}
	case carrier.FriendAccepted:
		p.show(friendNews{id, "added"})
		delete(p.requests, id)
	case carrier.FriendNone, carrier.FriendRemoved:
		p.show(friendNews{id, "removed"})
	case carrier.FriendRefused:
		p.show(friendNews{id, "refused"})
	case carrier.FriendExpired:
		p.show(failed{"add", fmt.Errorf("%s has not answered in 30 days; ask again, or /remove", id)})
	}
	p.friends[id] = standing{state: state}
}

// present shows that a friend has come or gone.
func (p *people) present(f *carrier.Friend, online bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state(f.ID(), f.State())
	p.online(f.ID(), online)
}

func (p *people) online(id carrier.ID, online bool) {
	f := p.friends[id]
	if f.state != carrier.FriendAccepted || f.online == online {
		return
	}
	f.online = online
	p.friends[id] = f
	if online {
		p.show(friendNews{id, "online"})
	} else {
		p.show(friendNews{id, "offline"})
	}
}

// asked shows a request.
func (p *people) asked(r carrier.FriendRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.request(r)
}

func (p *people) request(r carrier.FriendRequest) {
	if was, ok := p.requests[r.ID]; ok && was.Hello == r.Hello && was.Time.Equal(r.Time) {
		return
	}
	p.requests[r.ID] = r
	p.show(request{r})
}

// answered forgets a request.
func (p *people) answered(id carrier.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.requests, id)
}

// row is a friend for /friends.
func row(f *carrier.Friend) friendRow {
	r := friendRow{id: f.ID(), name: f.Name(), label: f.Label(), path: f.Path()}
	switch s := f.State(); s {
	case carrier.FriendAccepted:
		r.state = "offline"
		if f.Online() {
			r.state = "online"
		}
	case carrier.FriendPending, carrier.FriendStored:
		r.state = "pending"
	default:
		r.state = s.String()
	}
	return r
}
