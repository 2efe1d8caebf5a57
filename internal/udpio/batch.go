package udpio

import "net/netip"

// Packet is one datagram to send.
type Packet struct {
	B  []byte
	To netip.AddrPort
}

// batcher hands several datagrams to the system at once, where the system has a call for it. It returns how many
// leading packets were taken; the error, if any, is about the one after them. It must not keep the packets.
type batcher interface {
	writeBatch(packets []Packet) (n int, err error)
}

var _ batcher = oneByOne{}

// newBatcher chooses the fastest that conn can do: for now that is a call for each packet on every system.
func newBatcher(conn udpConn) batcher { return oneByOne{conn} }

// oneByOne sends each packet with a call of its own.
type oneByOne struct{ conn udpConn }

func (o oneByOne) writeBatch(packets []Packet) (int, error) {
	for i, p := range packets {
		if _, err := o.conn.WriteToUDPAddrPort(p.B, unmap(p.To)); err != nil {
			return i, err
		}
	}
	return len(packets), nil
}
