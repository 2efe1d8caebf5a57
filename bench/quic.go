package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/quic-go/quic-go"
)

// quicPair is a QUIC connection with quic-go's own defaults.
type quicPair struct {
	closers []io.Closer // in the order of opening
	client  *quic.Conn
	server  *quic.Conn
}

func startQUIC(ctx context.Context) (_ pair, err error) {
	serverTLS, clientTLS, err := tlsConfigs()
	if err != nil {
		return nil, err
	}
	p := &quicPair{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var ends [2]*quic.Transport
	for i := range ends {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		ends[i] = &quic.Transport{Conn: conn}
		p.closers = append(p.closers, conn, ends[i])
	}
	listener, err := ends[0].Listen(serverTLS, nil)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, listener)
	if p.client, err = ends[1].Dial(ctx, listener.Addr(), clientTLS, nil); err != nil {
		return nil, err
	}
	p.server, err = listener.Accept(ctx)
	return p, err
}

func (p *quicPair) stream(ctx context.Context) (writer, io.ReadCloser, error) {
	a, err := p.client.OpenStreamSync(ctx)
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.Write([]byte{0}); err != nil { // a stream without a byte is nobody's to accept
		return nil, nil, err
	}
	b, err := p.server.AcceptStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
		return nil, nil, fmt.Errorf("read the first byte: %w", err)
	}
	return quicWriter{a}, b, nil
}

func (p *quicPair) packets() uint64 { return 0 }

func (p *quicPair) close() {
	for _, c := range []*quic.Conn{p.client, p.server} {
		if c != nil {
			_ = c.CloseWithError(0, "")
		}
	}
	for i := range p.closers {
		_ = p.closers[len(p.closers)-1-i].Close()
	}
}

// quicWriter is a stream whose Close closes the sending side only.
type quicWriter struct{ *quic.Stream }

func (w quicWriter) CloseWrite() error { return w.Stream.Close() }

func (w quicWriter) Close() error {
	w.CancelRead(0)
	if err := w.Stream.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
