package configs

import (
	"fmt"
	"os"
	"strings"
)

// socketPathMax is the longest path of a Unix socket that every supported system takes.
const socketPathMax = 103

// complete fills in what depends on other values and reports what is
// impossible only in combination.
func (c *Config) complete(src sources) error {
	if len(c.Listeners) == 0 {
		return src.mistake("listeners", "expected at least one listener")
	}
	for i := range c.Listeners {
		c.Listeners[i].fill()
		check := listenerCheck{Listener: &c.Listeners[i], key: fmt.Sprintf("listeners[%d]", i), src: src}
		if err := check.run(); err != nil {
			return err
		}
	}
	nameListeners(c.Listeners)
	if err := c.checkUnique(src); err != nil {
		return err
	}
	if err := c.checkChannels(src); err != nil {
		return err
	}
	if err := c.completeBridges(src); err != nil {
		return err
	}
	for _, file := range []struct{ key, path string }{
		{"auth.password_file", c.Auth.PasswordFile},
		{"auth.acl_file", c.Auth.ACLFile},
	} {
		if file.path == "" {
			continue
		}
		if err := checkReadable(file.path); err != nil {
			return src.mistake(file.key, "expected a readable file: %s: %s", file.path, reason(err))
		}
	}
	return nil
}

// checkUnique finds listeners with one name or one address, and an admin address that a listener has.
func (c *Config) checkUnique(src sources) error {
	names, sockets := map[string]int{}, map[string]string{}
	for i, l := range c.Listeners {
		key := fmt.Sprintf("listeners[%d]", i)
		if first, twice := names[l.Name]; twice {
			return src.mistake(key+".name", "expected a name of its own, %q is that of listeners[%d]", l.Name, first)
		}
		names[l.Name] = i
		socket := socketOf(l.Type, l.Address)
		if first, twice := sockets[socket]; twice && socket != "" {
			return src.mistake(key+".address", "expected an address of its own, %s is that of %s", l.Address, first)
		}
		sockets[socket] = key
	}
	if c.Admin.Address == "" {
		return nil
	}
	socket := socketOf("tcp", c.Admin.Address)
	if first, twice := sockets[socket]; twice && socket != "" {
		return src.mistake("admin.address", "expected an address of its own, %s is that of %s", c.Admin.Address, first)
	}
	return nil
}

// A listenerCheck looks for the mistakes in one listener.
type listenerCheck struct {
	*Listener
	key string // "listeners[0]"
	src sources
}

func (l listenerCheck) mistake(key, format string, args ...any) error {
	return l.src.mistake(l.key+"."+key, format, args...)
}

func (l listenerCheck) run() error {
	for _, step := range []func() error{l.checkAddress, l.checkKind, l.checkPath, l.checkTLS, l.checkClientCA} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (l listenerCheck) checkAddress() error {
	if l.Type == "" {
		return l.mistake("type", "expected %s, got nothing", oneOf(choicesOf["listeners.type"]))
	}
	if l.Type != "unix" {
		if err := checkAddress(l.Address); err != nil {
			return l.mistake("address", "%s", err)
		}
		return nil
	}
	if l.Address == "" || len(l.Address) > socketPathMax {
		return l.mistake("address", "expected the path of a socket, 1 to %d bytes, got %q", socketPathMax, l.Address)
	}
	return nil
}

// checkKind refuses keys that mean nothing for the listener's type: who wrote them expects what will not happen.
func (l listenerCheck) checkKind() error {
	if err := checkChoice(l.ProxyProtocol, choicesOf["listeners.proxy_protocol"]); err != nil {
		return l.mistake("proxy_protocol", "%s", err)
	}
	const onlyTLS, onlyWebSocket = "tls or wss", "ws or wss"
	for _, k := range []struct {
		key          string
		set, allowed bool
		types        string
	}{
		{"path", l.Path != "", l.isWebSocket(), onlyWebSocket},
		{"origins", len(l.Origins) > 0, l.isWebSocket(), onlyWebSocket},
		{"cert", l.Cert != "", l.isTLS(), onlyTLS},
		{"key", l.Key != "", l.isTLS(), onlyTLS},
		{"client_ca", l.ClientCA != "", l.isTLS(), onlyTLS},
		{"username_from_cert", l.UsernameFromCert, l.isTLS(), onlyTLS},
	} {
		if k.set && !k.allowed {
			return l.mistake(k.key, "expected only with type %s, this listener has type %s", k.types, l.Type)
		}
	}
	return nil
}

func (l listenerCheck) checkPath() error {
	if l.isWebSocket() && !strings.HasPrefix(l.Path, "/") {
		return l.mistake("path", "expected a path that starts with /, got %q", l.Path)
	}
	return nil
}

func checkReadable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
