package script

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"time"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A Setup is what a broker is started with.
type Setup struct {
	Limits      configs.Limits
	HideReasons bool
	SysInterval time.Duration
	Channels    []configs.Channel
	Hooks       []hooks.Hook // the hook of the channels among them, if there are any
	Store       storage.Store
}

// A Target is a running broker.
type Target interface {
	// Attach takes over the server's end of a new connection. It returns without waiting for the client.
	Attach(server net.Conn)
	// Shutdown ends the broker in order.
	Shutdown(ctx context.Context) error
}

// set changes one setting, named as in the YAML file.
func (s *Setup) set(key, value string) (err error) {
	switch key {
	case "hide_reasons":
		s.HideReasons, err = strconv.ParseBool(value)
		return err
	case "sys_interval":
		s.SysInterval, err = time.ParseDuration(value)
		return err
	}
	return setKey(&s.Limits, key, value)
}

// setKey changes the field of a structure whose YAML name is key.
func setKey(structure any, key, value string) error {
	fields := reflect.ValueOf(structure).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).Tag.Get("mapstructure") == key {
			return setField(fields.Field(i), value)
		}
	}
	return fmt.Errorf("config: no setting %s", key)
}

func setField(f reflect.Value, value string) error {
	if f.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(value)
		f.SetInt(int64(d))
		return err
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(value)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		f.SetBool(b)
		return err
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 0, f.Type().Bits())
		f.SetInt(n)
		return err
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		n, err := strconv.ParseUint(value, 0, f.Type().Bits())
		f.SetUint(n)
		return err
	}
	return fmt.Errorf("config: a %s cannot be set", f.Type())
}
