package reliable

// A slab holds records of one type under small numbers, so that they link to one another without pointers, and takes
// freed ones again before it grows. Number 0 is none: the zero value of a link.
type slab[T any] struct {
	items []T
	free  []int32
}

// take returns the number of a zero record.
func (s *slab[T]) take() int32 {
	if n := len(s.free) - 1; n >= 0 {
		i := s.free[n]
		s.free = s.free[:n]
		return i
	}
	var zero T
	if len(s.items) == 0 {
		s.items = append(s.items, zero) // of number 0
	}
	s.items = append(s.items, zero)
	return int32(len(s.items) - 1)
}

// at returns a record; the pointer is good until the next take.
func (s *slab[T]) at(i int32) *T { return &s.items[i] }

// give frees a record.
func (s *slab[T]) give(i int32) {
	var zero T
	s.items[i] = zero // and what it points to
	s.free = append(s.free, i)
}

// used returns how many records are taken.
func (s *slab[T]) used() int { return max(0, len(s.items)-1) - len(s.free) }

// reset frees the memory of a slab in which no record is taken.
func (s *slab[T]) reset() { s.items, s.free = nil, nil }
