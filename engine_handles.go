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

// messageRegistry finds the one *Message of each key while the program holds it.
// Sent messages are found by their IDs, which we draw; received ones by their
// arrival, as their IDs are drawn by friends, who can take one twice or take one
// of ours. Its mutex is a leaf.
type messageRegistry[K comparable] struct {
	mu sync.Mutex
	m  map[K]weak.Pointer[Message]
}

// get returns the handle of key, made by create if the program holds none.
func (r *messageRegistry[K]) get(key K, create func() *Message) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.m[key].Value(); m != nil {
		return m
	}
	if r.m == nil {
		r.m = map[K]weak.Pointer[Message]{}
	}
	m := create()
	r.m[key] = weak.Make(m)
	runtime.AddCleanup(m, r.forget, key)
	return m
}

// find returns the handle of key, nil if the program holds none.
func (r *messageRegistry[K]) find(key K) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[key].Value()
}

func (r *messageRegistry[K]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.m[key]; ok && p.Value() == nil {
		delete(r.m, key)
	}
}
