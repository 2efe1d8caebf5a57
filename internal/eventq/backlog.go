package eventq

// backlog is a list of elements in order of arrival, of which one with a given
// key can be taken out of the middle. Its slots are reused: once it has been
// as long as it gets, adding and taking do not allocate.
type backlog[T any] struct {
	slots []slot[T]
	keyed map[string]int // slots by key
	first int            // oldest, none when empty
	last  int            // newest, none when empty
	free  int            // unused slots, chained by next; none: make another
	len   int
}

type slot[T any] struct {
	value      T
	key        string
	prev, next int
}

const none = -1

func newBacklog[T any]() backlog[T] {
	return backlog[T]{keyed: make(map[string]int), first: none, last: none, free: none}
}

// add puts an element at the end.
func (b *backlog[T]) add(value T, key string) {
	i := b.free
	if i == none {
		i = len(b.slots)
		b.slots = append(b.slots, slot[T]{})
	} else {
		b.free = b.slots[i].next
	}
	b.slots[i] = slot[T]{value: value, key: key, prev: b.last, next: none}
	if b.last == none {
		b.first = i
	} else {
		b.slots[b.last].next = i
	}
	b.last = i
	b.len++
	if key != "" {
		b.keyed[key] = i
	}
}

// take removes the oldest element; there must be one.
func (b *backlog[T]) take() T {
	value := b.slots[b.first].value
	b.remove(b.first)
	return value
}

// drop removes the element with a key, if there is one.
func (b *backlog[T]) drop(key string) {
	if key == "" {
		return
	}
	if i, found := b.keyed[key]; found {
		b.remove(i)
	}
}

func (b *backlog[T]) remove(i int) {
	s := b.slots[i]
	if s.prev == none {
		b.first = s.next
	} else {
		b.slots[s.prev].next = s.next
	}
	if s.next == none {
		b.last = s.prev
	} else {
		b.slots[s.next].prev = s.prev
	}
	if s.key != "" {
		delete(b.keyed, s.key)
	}
	b.slots[i] = slot[T]{next: b.free} // lets go of the value
	b.free = i
	b.len--
}
