package transport

import (
	"crypto/rand"
	"time"
)

const (
	// sizeTries is how often a size is tried before it is taken to be too large
	// (RFC 8899 section 5.1.2), and sizeWait, with a round trip, how long its
	// answer is waited for.
	sizeTries = 3
	sizeWait  = 100 * time.Millisecond
	// sizeAgain is the pause between two searches: paths change unseen.
	sizeAgain = time.Minute
	// maxPacketSize is the largest of the sizes that are searched for, and
	// sizeCount how many these are.
	maxPacketSize = 8800
	sizeCount     = 3
)

// searchedSizes are the sizes of datagrams that are searched for, in bytes of
// UDP payload, above packetSize, which every path carries. Few sizes are common,
// so these are all: within a tunnel such as WireGuard's, or PPPoE, over IPv6;
// within Ethernet's 1,500 bytes, over either family; within jumbo frames of
// 9,000 bytes and loopback, with room for a cloud's headers.
func searchedSizes() [sizeCount]int { return [...]int{1372, 1452, maxPacketSize} }

// sizeSearch finds out how large the datagrams are that a link's path carries
// (RFC 8899): a binary search among a few sizes, by challenges that are padded
// to the size and may not be fragmented. An answer, of whatever size, proves one.
// It begins when packets are full, for nothing is gained before, so that an idle
// link sends no large ones. It is stepped.
type sizeSearch struct {
	size      int           // of full datagrams
	low, high int           // sizes up to low pass, those from high on do not; they index searchedSizes
	token     [8]byte       // of the challenge
	tries     int           // of the size between them
	next      time.Duration // when there is something to do; noTime: no search
	again     time.Duration // no search begins before
}

func newSizeSearch() sizeSearch { return sizeSearch{size: packetSize, next: noTime} }

// wanted reports whether a search should begin, now that a full packet leaves.
func (s *sizeSearch) wanted(now time.Duration) bool { return s.next == noTime && now >= s.again }

// begin begins a search, of all sizes: what passed before may not any more.
func (s *sizeSearch) begin(now time.Duration) {
	s.low, s.high = -1, sizeCount
	s.try(now)
}

// try goes on to the next size, or ends the search.
func (s *sizeSearch) try(now time.Duration) {
	if s.high-s.low > 1 {
		rand.Read(s.token[:]) // never fails
		s.tries, s.next = 0, now
		return
	}
	s.next, s.again, s.size = noTime, now+sizeAgain, packetSize
	if s.low >= 0 {
		s.size = searchedSizes()[s.low]
	}
}

// middle is the size that is tried.
func (s *sizeSearch) middle() int { return (s.low + s.high) / 2 }

// advance gives a size up that was tried often enough.
func (s *sizeSearch) advance(now time.Duration) {
	if now >= s.next && s.tries == sizeTries {
		s.refused(now)
	}
}

// probe takes the challenge that is due, and the size to pad it to; 0 if there
// is none. rtt is the round trip.
func (s *sizeSearch) probe(now, rtt time.Duration) (token [8]byte, size int) {
	if now < s.next || s.tries == sizeTries {
		return token, 0
	}
	s.tries++
	s.next = now + rtt + sizeWait
	return s.token, searchedSizes()[s.middle()]
}

// refused says that the size that is tried does not pass: it cannot even leave.
func (s *sizeSearch) refused(now time.Duration) {
	if s.next != noTime {
		s.high = s.middle()
		s.try(now)
	}
}

// answered takes an answer of the peer. What passes is used at once.
func (s *sizeSearch) answered(now time.Duration, token [8]byte) {
	if s.next == noTime || s.tries == 0 || token != s.token {
		return
	}
	s.low = s.middle()
	s.size = max(s.size, searchedSizes()[s.low])
	s.try(now)
}

// searchSize begins to search for a size now that a full packet leaves, unless
// there is a relay on the path: it fragments what it passes on, and so nothing
// would be known. Under mu.
func (l *Link) searchSize(now time.Duration) {
	if l.kind() == PathRelay {
		l.sizes.again = now + sizeAgain
		return
	}
	l.sizes.begin(now)
}

// search is the search for the size, which knows by then whether the machine
// has found a path that swallows large packets. Under mu.
func (l *Link) search() *sizeSearch {
	if l.machine.MaxPacket() < l.sizes.size-dataOverhead {
		l.sizes = newSizeSearch()
		l.drops["data.size.fell"]++
	}
	return &l.sizes
}

// resize has the machine use the size that is known. Under mu.
func (l *Link) resize() {
	if n := l.sizes.size - dataOverhead; n != l.machine.MaxPacket() {
		l.machine.SetMaxPacket(n)
	}
}

// sizeRefused says that a datagram of the search cannot leave.
func (l *Link) sizeRefused(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.search(); s.next != noTime && searchedSizes()[s.middle()] == size { // not over since
		s.refused(l.now())
		l.resize()
		l.rouse()
	}
}
