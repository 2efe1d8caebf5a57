package carrier

import (
	"runtime"
	"slices"
	"sync"
	"weak"
)

// friendRegistry keeps the one *Friend of each ID. Its mutex is a leaf.
type friendRegistry struct {
	mu sync.Mutex
	m  map[ID]*Friend
}

// get returns the handle of id, made if there is none yet.
func (r *friendRegistry) get(n *Node, id ID) *Friend {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.m[id]; f != nil {
		return f
	}
	if r.m == nil {
		r.m = map[ID]*Friend{}
	}
	f := newFriend(n, id)
	r.m[id] = f
	return f
}

// find returns the handle of id, nil if there is none.
func (r *friendRegistry) find(id ID) *Friend {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[id]
}

// all returns the handles in the order of their IDs.
func (r *friendRegistry) all() []*Friend {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Friend, 0, len(r.m))
	for _, f := range r.m {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *Friend) int { return a.id.Compare(b.id) })
	return list
}

// messageRegistry finds the one *Message of each ID while the program holds it.
// Its mutex is a leaf.
type messageRegistry struct {
	mu sync.Mutex
	m  map[MessageID]weak.Pointer[Message]
}

// get returns the handle of id, made by create if the program holds none.
func (r *messageRegistry) get(id MessageID, create func() *Message) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.m[id].Value(); m != nil {
		return m
	}
	if r.m == nil {
		r.m = map[MessageID]weak.Pointer[Message]{}
	}
	m := create()
	r.m[id] = weak.Make(m)
	runtime.AddCleanup(m, r.forget, id)
	return m
}

// find returns the handle of id, nil if the program holds none.
func (r *messageRegistry) find(id MessageID) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[id].Value()
}

func (r *messageRegistry) forget(id MessageID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.m[id]; ok && p.Value() == nil {
		delete(r.m, id)
	}
}
