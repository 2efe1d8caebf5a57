package main

import (
	"bytes"
	"errors"
	"flag"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gocarrier/carrier"
)

func TestOptions(t *testing.T) {
	dir, err := filepath.Abs("d")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		want options
		says string // of an error
	}{
		{"-dir d", options{config: carrier.Config{Dir: dir}, maxFile: 1 << 30}, ""},
		{
			"-dir d -listen :7 -bootstrap a:1,b:2 -name N -max-file 5MB -stun s:3 -turn u:p:w@t:4,v:@x:5 -v",
			options{config: carrier.Config{
				Dir: dir, Listen: ":7", Bootstrap: []string{"a:1", "b:2"}, Name: "N", STUN: []string{"s:3"},
				TURN: []carrier.TURNServer{{Address: "t:4", Username: "u", Password: "p:w"}, {Address: "x:5", Username: "v"}},
			}, maxFile: 5e6, verbose: true},
			"",
		},
		{"-dir d -bootstrap none", options{config: carrier.Config{Dir: dir, NoBootstrap: true}, maxFile: 1 << 30}, ""},
		{"", options{}, "-dir DIR"},
		{"-dir d more", options{}, `"more"`},
		{"-dir d -turn t:4", options{}, "USER:PASSWORD@HOST:PORT"},
		{"-dir d -turn secret@", options{}, "USER:PASSWORD@HOST:PORT"},
		{"-dir d -max-file lots", options{}, "not a size"},
		{"-nope", options{}, "-nope"},
	} {
		var out bytes.Buffer
		got, err := parseOptions(strings.Fields(test.args), &out)
		switch {
		case test.says == "" && (err != nil || !reflect.DeepEqual(got, test.want)):
			t.Errorf("%s: %+v, %v, want %+v", test.args, got, err, test.want)
		case test.says != "" && (err == nil || !strings.Contains(out.String(), test.says)):
			t.Errorf("%s: %v and %q, want an error and %q", test.args, err, out.String(), test.says)
		}
		if strings.Contains(out.String(), "secret") {
			t.Errorf("%s: a password is shown: %q", test.args, out.String())
		}
	}
	var out bytes.Buffer
	if _, err := parseOptions([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "max-file") {
		t.Errorf("-h: %v and %q", err, out.String())
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "1073741824": 1 << 30, "9223372036854775807": 1<<63 - 1,
		"1GiB": 1 << 30, "1 GiB": 1 << 30, "2gib": 2 << 30, "1.5KiB": 1536, "500MB": 5e8, "3kb": 3000, "7B": 7, "1TiB": 1 << 40, "2TB": 2e12, "1GB": 1e9, "4MiB": 4 << 20,
	} {
		var got size
		if err := got.Set(text); err != nil || int64(got) != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "-1GiB", "1e400GiB", "NaN", "inf", "9223372036854775808", "1PiB", "GiB", "1 2"} {
		var got size
		if err := got.Set(text); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1 << 30: "1 GiB", 300e6: "286.1 MiB"} {
		if got := showSize(n); got != want {
			t.Errorf("showSize(%d) = %q, want %q", n, got, want)
		}
	}
}
