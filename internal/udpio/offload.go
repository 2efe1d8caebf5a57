package udpio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

const (
	// maxSegments is how many datagrams one call may carry: what every Linux that has UDP_SEGMENT takes.
	maxSegments = 64
	// maxBatch is how many bytes one call may carry: the largest UDP payload over IPv4.
	maxBatch = 65507
	// switchOff is the environment variable that, set to 1, keeps sockets to a system call for each datagram.
	switchOff = "CARRIER_NO_GSO"
)

// offload is what the system has for a socket to move several datagrams of one size with one call. A field is nil where
// it has no such call.
type offload struct {
	// send sends b cut into datagrams of size bytes, of which the last may be shorter: all of them, or none and an
	// error. It is called with at most maxBatch bytes that make 2 to maxSegments datagrams.
	send func(b []byte, size int, to netip.AddrPort) error
	// receive reads one datagram, or several of one sender that are size bytes each, of which the last may be shorter.
	receive func(b []byte) (n, size int, from netip.AddrPort, err error)
}

// findOffload finds out what the system has for conn, and turns it on.
func findOffload(conn udpConn) offload {
	if os.Getenv(switchOff) == "1" {
		return offload{}
	}
	return systemOffload(conn)
}

// WriteSegments sends b cut into datagrams of size bytes, of which the last may be shorter, in order; it does not keep b.
// An empty b is no datagram. After an error, which is WriteTo's, the datagrams before the one it is about have been
// sent, those after it not. Where the system can cut by itself, up to 64 datagrams cost one call (see the package
// comment); which way they went makes no difference to the receiver.
func (s *Socket) WriteSegments(b []byte, size int, to netip.AddrPort) error {
	if size <= 0 {
		return fmt.Errorf("cut %d bytes into datagrams of %d bytes: the size must be positive", len(b), size)
	}
	to = unmap(to)
	for batch := range slices.Chunk(b, size*max(1, min(maxSegments, maxBatch/size))) {
		if err := s.writeBatch(batch, size, to); err != nil {
			return err
		}
	}
	return nil
}

// writeBatch sends what one call may carry.
func (s *Socket) writeBatch(b []byte, size int, to netip.AddrPort) error {
	if len(b) > size && s.offload.send != nil && !s.refused.Load() {
		err := s.offload.send(b, size, to)
		switch {
		case err == nil:
			s.counters.sentBatches.Add(1)
			for d := range slices.Chunk(b, size) {
				s.counters.countSent(d)
			}
			return nil
		case !uncut(err):
			s.counters.writeErrors.Add(1)
			return err
		}
		s.counters.refusedBatches.Add(1)
		if errors.Is(err, syscall.EIO) {
			s.refused.Store(true)
		}
	}
	for d := range slices.Chunk(b, size) {
		if err := s.WriteTo(d, to); err != nil {
			return err
		}
	}
	return nil
}

// uncut says whether an error of offload.send may be about the cutting, so that the same datagrams can go one by one.
// EIO is the way's device: it computes no checksums, and so it will be with the next batch. EINVAL and EMSGSIZE are this
// batch only, as when datagrams are larger than the way's MTU: alone they are fragmented, cut by the kernel they are not.
func uncut(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EMSGSIZE)
}

// receive reads what one call gives.
func (s *Socket) receive(b []byte) (n, size int, from netip.AddrPort, err error) {
	if s.offload.receive != nil {
		return s.offload.receive(b)
	}
	n, from, err = s.conn.ReadFromUDPAddrPort(b)
	return n, n, from, err
}

// deliver dispatches what one call gave, in order. No listener can reach beyond its datagram.
func (s *Socket) deliver(b []byte, size int, from netip.AddrPort) {
	if size <= 0 || len(b) <= size {
		s.dispatch(b, from)
		return
	}
	s.counters.receivedBatches.Add(1)
	for d := range slices.Chunk(b, size) {
		s.dispatch(d, from)
	}
}
