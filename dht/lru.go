package dht

import "container/list"

// lru is a map that holds at most max entries and drops the one that was used
// longest ago. It is not safe for concurrent use: its owner's mutex guards it.
type lru[K comparable, V any] struct {
	max     int
	entries map[K]*list.Element
	order   *list.List // front: used last
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{max: max(limit, 1), entries: make(map[K]*list.Element), order: list.New()}
}

// get returns the value of key and marks it as used.
func (l *lru[K, V]) get(key K) (V, bool) {
	e, ok := l.entries[key]
	if !ok {
		var zero V
		return zero, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

// put sets the value of key, which may push out the oldest entry.
func (l *lru[K, V]) put(key K, value V) {
	if e, ok := l.entries[key]; ok {
		e.Value.(*lruEntry[K, V]).value = value
		l.order.MoveToFront(e)
		return
	}
	l.entries[key] = l.order.PushFront(&lruEntry[K, V]{key, value})
	if len(l.entries) > l.max {
		oldest, _, _ := l.oldest()
		l.remove(oldest)
	}
}

// oldest returns the entry that put would push out first.
func (l *lru[K, V]) oldest() (key K, value V, ok bool) {
	e := l.order.Back()
	if e == nil {
		return key, value, false
	}
	entry := e.Value.(*lruEntry[K, V])
	return entry.key, entry.value, true
}

func (l *lru[K, V]) remove(key K) {
	if e, ok := l.entries[key]; ok {
		l.order.Remove(e)
		delete(l.entries, key)
	}
}

func (l *lru[K, V]) len() int { return len(l.entries) }

func (l *lru[K, V]) clear() {
	clear(l.entries)
	l.order.Init()
}

// each calls f for every entry, last used first, until f returns false. f must
// not change the lru.
func (l *lru[K, V]) each(f func(K, V) bool) {
	for e := l.order.Front(); e != nil; e = e.Next() {
		entry := e.Value.(*lruEntry[K, V])
		if !f(entry.key, entry.value) {
			return
		}
	}
}
