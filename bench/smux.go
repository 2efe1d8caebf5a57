package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/xtaci/smux"
)

// smuxPair is two smux sessions over TLS 1.3 over TCP.
type smuxPair struct{ client, server *smux.Session }

// smuxWindow is more than loopback ever has under way: it bounds no speed.
const smuxWindow = 16 << 20

func startSmux(ctx context.Context) (pair, error) {
	serverTLS, clientTLS, err := tlsConfigs()
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", serverTLS)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	dialed := make(chan error, 1)
	var client net.Conn
	go func() {
		var err error
		client, err = (&tls.Dialer{Config: clientTLS}).DialContext(ctx, "tcp4", listener.Addr().String())
		dialed <- err
	}()
	server, err := listener.Accept()
	if err != nil {
		return nil, errors.Join(err, <-dialed)
	}
	// Accept does not shake hands, and the client waits for that.
	if err := errors.Join(server.(*tls.Conn).HandshakeContext(ctx), <-dialed); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	config := smux.DefaultConfig()
	config.Version, config.KeepAliveDisabled = 2, true
	config.MaxFrameSize, config.MaxReceiveBuffer, config.MaxStreamBuffer = 32<<10, smuxWindow, smuxWindow
	p := &smuxPair{}
	if p.client, err = smux.Client(client, config); err != nil {
		return nil, errors.Join(err, client.Close(), server.Close())
	}
	if p.server, err = smux.Server(server, config); err != nil {
		return nil, errors.Join(err, p.client.Close(), server.Close())
	}
	return p, nil
}

func (p *smuxPair) stream(ctx context.Context) (writer, io.ReadCloser, error) {
	a, err := p.client.OpenStream()
	if err != nil {
		return nil, nil, fmt.Errorf("open a stream: %w", err)
	}
	deadline, _ := ctx.Deadline()
	if err := p.server.SetDeadline(deadline); err != nil {
		return nil, nil, err
	}
	b, err := p.server.AcceptStream()
	if err != nil {
		return nil, nil, fmt.Errorf("accept a stream: %w", err)
	}
	return smuxEnd{a}, smuxEnd{b}, nil
}

func (p *smuxPair) packets() uint64 { return 0 }

func (p *smuxPair) close() {
	_ = p.client.Close()
	_ = p.server.Close()
}

// smuxEnd is a stream whose Close may come after the session or peer has
// closed it.
type smuxEnd struct{ *smux.Stream }

func (e smuxEnd) Close() error {
	if err := e.Stream.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}
