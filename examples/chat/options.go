package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/gocarrier/carrier"
)

// options are what the flags say.
type options struct {
	config  carrier.Config // without a logger
	maxFile int64
	verbose bool
}

// parseOptions reads the flags. What is wrong with them it has told output.
func parseOptions(args []string, output io.Writer) (options, error) {
	o := options{maxFile: 1 << 30}
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(output)
	dir := flags.String("dir", "", "state `directory`, made if missing; must be given")
	flags.StringVar(&o.config.Listen, "listen", "", "UDP `address`, host:port or :port; empty: all interfaces")
	bootstrap := flags.String("bootstrap", "", "comma-separated host:port of DHT nodes, or none; empty: the public routers")
	flags.StringVar(&o.config.Name, "name", "", "what friends see of you")
	flags.Var((*size)(&o.maxFile), "max-file", "`size` of the largest file that is taken, as 500MB or 2GiB")
	stun := flags.String("stun", "", "comma-separated host:port of STUN servers")
	turn := flags.String("turn", "", "comma-separated USER:PASSWORD@HOST:PORT of TURN servers")
	flags.BoolVar(&o.verbose, "v", false, "log on standard error")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	err := func() (err error) {
		switch {
		case *dir == "":
			return errors.New("no state directory: say -dir DIR")
		case flags.NArg() > 0:
			return fmt.Errorf("what is %q? everything is said by flags", flags.Arg(0))
		}
		if o.config.Dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
		o.config.Bootstrap, o.config.NoBootstrap = split(*bootstrap), *bootstrap == "none"
		if o.config.NoBootstrap {
			o.config.Bootstrap = nil
		}
		o.config.STUN = split(*stun)
		o.config.TURN, err = parseTURN(*turn)
		return err
	}()
	if err != nil {
		fmt.Fprintln(output, "chat:", err)
		return options{}, err
	}
	return o, nil
}

// split gives the parts of a comma-separated list; nil of an empty one.
func split(list string) []string {
	if parts := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }); len(parts) > 0 {
		return parts
	}
	return nil
}

// parseTURN reads a list of USER:PASSWORD@HOST:PORT. The password may have any
// character but "," and " ".
func parseTURN(list string) ([]carrier.TURNServer, error) {
	var servers []carrier.TURNServer
	for i, s := range split(list) {
		at := strings.LastIndexByte(s, '@')
		user, password, ok := strings.Cut(s[:max(at, 0)], ":")
		if !ok || user == "" || at == len(s)-1 {
			return nil, fmt.Errorf("-turn: entry %d is not USER:PASSWORD@HOST:PORT", i+1) // not shown: it may hold a password
		}
		servers = append(servers, carrier.TURNServer{Address: s[at+1:], Username: user, Password: password})
	}
	return servers, nil
}
