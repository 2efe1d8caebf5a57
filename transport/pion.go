package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/pion/logging"
	piontransport "github.com/pion/transport/v5"
)

// pionLogs gives what pion logs to slog, all of it at debug level: what pion warns of is daily life to a mux that drops
// what it must. pion's own debug level is left out, since it prints passwords.
type pionLogs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (p pionLogs) NewLogger(scope string) logging.LeveledLogger { return pionLog{p.log, scope} }

// pionLog is the logger of one part of pion.
type pionLog struct {
	log   *slog.Logger
	scope string
}

func (l pionLog) say(level, text string) {
	l.log.Debug("pion: "+text, "part", l.scope, "level", level)
}

func (l pionLog) sayf(level, format string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.say(level, fmt.Sprintf(format, args...))
	}
}

func (pionLog) Trace(string)                        {}
func (pionLog) Tracef(string, ...any)               {}
func (pionLog) Debug(string)                        {}
func (pionLog) Debugf(string, ...any)               {}
func (l pionLog) Info(text string)                  { l.say("info", text) }
func (l pionLog) Infof(format string, args ...any)  { l.sayf("info", format, args) }
func (l pionLog) Warn(text string)                  { l.say("warn", text) }
func (l pionLog) Warnf(format string, args ...any)  { l.sayf("warn", format, args) }
func (l pionLog) Error(text string)                 { l.say("error", text) }
func (l pionLog) Errorf(format string, args ...any) { l.sayf("error", format, args) }

// errNoNet is what pion gets that reaches for a network of its own.
var errNoNet = errors.New("pion has no network but the conns it is given")

// noNet is the network that pion is given: none. It has no interfaces, opens nothing, and resolves only what is an
// address already. All that pion sends goes by the mux or by a socket of ours.
type noNet struct{}

var _ piontransport.Net = noNet{}

func (noNet) Interfaces() ([]*piontransport.Interface, error) { return nil, nil }
func (noNet) InterfaceByIndex(int) (*piontransport.Interface, error) {
	return nil, errNoNet
}

func (noNet) InterfaceByName(string) (*piontransport.Interface, error) {
	return nil, errNoNet
}
func (noNet) ListenPacket(string, string) (net.PacketConn, error) { return nil, errNoNet }
func (noNet) ListenUDP(string, *net.UDPAddr) (piontransport.UDPConn, error) {
	return nil, errNoNet
}

func (noNet) ListenTCP(string, *net.TCPAddr) (piontransport.TCPListener, error) {
	return nil, errNoNet
}
func (noNet) Dial(string, string) (net.Conn, error) { return nil, errNoNet }
func (noNet) DialUDP(string, *net.UDPAddr, *net.UDPAddr) (piontransport.UDPConn, error) {
	return nil, errNoNet
}

func (noNet) DialTCP(string, *net.TCPAddr, *net.TCPAddr) (piontransport.TCPConn, error) {
	return nil, errNoNet
}
func (noNet) ResolveIPAddr(string, string) (*net.IPAddr, error)   { return nil, errNoNet }
func (noNet) ResolveTCPAddr(string, string) (*net.TCPAddr, error) { return nil, errNoNet }
func (noNet) ResolveUDPAddr(_, address string) (*net.UDPAddr, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, errNoNet
	}
	return net.UDPAddrFromAddrPort(addr), nil
}
func (noNet) CreateDialer(*net.Dialer) piontransport.Dialer { return noDialer{} }
func (noNet) CreateListenConfig(*net.ListenConfig) piontransport.ListenConfig {
	return noListenConfig{}
}

type noDialer struct{}

func (noDialer) Dial(string, string) (net.Conn, error) { return nil, errNoNet }

type noListenConfig struct{}

func (noListenConfig) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errNoNet
}

func (noListenConfig) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errNoNet
}
