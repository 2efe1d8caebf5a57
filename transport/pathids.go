package transport

import "slices"

const (
	// spareIDs is how many connection IDs of the peer's coming paths are known
	// ahead of the highest one that is: as many as there are paths at once.
	spareIDs = maxPaths
	// maxIDs is how many each end has in a link's life, so that a peer cannot
	// make us keep any number. When they are used up they are used again.
	maxIDs = 4096
)

// pathIDs gives each path the connection ID that our packets bear on it. The
// peer knows ours up to spareIDs above the highest that it has seen, or has
// used itself. It must not be outrun: so the indexes of paths that came to
// nothing are used again.
type pathIDs struct {
	name  func(index uint32) connID
	next  uint32   // never used
	proof uint32   // the highest index that the peer knows of for certain
	free  []uint32 // taken, and given back before the peer saw them
	maxIn uint32   // highest index of the peer's connection IDs
}

// take gives an index and its ID. When the peer knows no more of them it is
// the one given.
func (s *pathIDs) take(otherwise uint32) (index uint32, id connID) {
	switch {
	case len(s.free) > 0:
		index, s.free = s.free[0], s.free[1:]
	case s.next <= s.proof+spareIDs && s.next < maxIDs:
		index = s.next
		s.next++
	default:
		index = otherwise
	}
	return index, s.name(index)
}

// takeAt takes one index, that of the peer's packets, and reports whether it is
// free.
func (s *pathIDs) takeAt(index uint32) bool {
	if index < s.next {
		i := slices.Index(s.free, index)
		if i >= 0 {
			s.free = slices.Delete(s.free, i, i+1)
		}
		return i >= 0
	}
	s.next = index + 1
	return true
}

// give takes an index back. One that the peer has seen is not used again.
func (s *pathIDs) give(index uint32) {
	if index > s.proof && !slices.Contains(s.free, index) {
		s.free = append(s.free, index)
	}
}

// answered says that the peer has seen an index of ours.
func (s *pathIDs) answered(index uint32) { s.proof = max(s.proof, index) }

// saw notes an index of the peer. It knows as many of ours.
func (s *pathIDs) saw(index uint32) {
	s.maxIn = max(s.maxIn, index)
	s.answered(index)
}

// known is how many connection IDs of the peer are to be known.
func (s *pathIDs) known() uint32 { return min(max(s.maxIn+1, s.next)+spareIDs, maxIDs) }
