package udpio

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// systemOffload is UDP_SEGMENT (Linux 4.18) and UDP_GRO, for sockets of the operating system. UDP_GRO is taken only where
// it can be read back (Linux 5.12); it is older, but had faults then.
func systemOffload(conn udpConn) (o offload) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return o
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return o
	}
	// An error of Control means a closed socket, which the reader will find out.
	_ = raw.Control(func(fd uintptr) {
		if _, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT); err == nil {
			o.send = newSegmentSender(udp).send
		}
		if _, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO); err == nil &&
			unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) == nil {
			o.receive = (&segmentReceiver{conn: udp}).receive
		}
	})
	return o
}

// segmentControl is the control message by which sendmsg cuts: a header, the size as 16 bits, padding.
type segmentControl [unix.SizeofCmsghdr + 8]byte

// segmentSender sends with UDP_SEGMENT. It is safe for concurrent use.
type segmentSender struct {
	conn    *net.UDPConn
	control segmentControl // all but the size
}

func newSegmentSender(conn *net.UDPConn) *segmentSender {
	s := &segmentSender{conn: conn}
	h := unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
	h.SetLen(unix.CmsgLen(2))
	if _, err := binary.Encode(s.control[:], binary.NativeEndian, h); err != nil {
		panic(err) // the header is of fixed size, and there is room
	}
	return s
}

func (s *segmentSender) send(b []byte, size int, to netip.AddrPort) error {
	control := s.control // one a call, on the stack
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(size))
	_, _, err := s.conn.WriteMsgUDPAddrPort(b, control[:unix.CmsgSpace(2)], to)
	return err
}

// segmentReceiver receives with UDP_GRO, for one goroutine.
type segmentReceiver struct {
	conn    *net.UDPConn
	control [64]byte
}

func (r *segmentReceiver) receive(b []byte) (n, size int, from netip.AddrPort, err error) {
	n, control, _, from, err := r.conn.ReadMsgUDPAddrPort(b, r.control[:])
	if err != nil {
		return 0, 0, from, err
	}
	return n, segmentSize(r.control[:control], n), from, nil
}

// segmentSize finds in control messages how large the datagrams are that were read together; n is what was read, which
// is one datagram if there is no such message.
func segmentSize(control []byte, n int) int {
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return n
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
		control = rest
	}
	return n
}
