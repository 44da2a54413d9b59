package main

import (
	"strings"

	"github.com/penstockmq/penstock/configs"
)

// reload reads the configuration and the files it names again, and puts in force what can change while the
// broker runs. A configuration with a mistake changes nothing.
func (s *server) reload() {
	next, err := configs.Load(s.source.file, s.source.flags)
	if err != nil {
		s.log.Error("configuration not reloaded", "err", err)
		return
	}
	for _, l := range s.listeners {
		if err := l.Reload(); err != nil {
			s.log.Error("certificates not reloaded", "name", l.Name(), "err", err)
		}
	}
	s.access.reload(s.broker, s.log)
	changed, waiting := configs.Diff(s.config, next)
	waiting = append(waiting, s.reloadChannels(next.Channels)...)
	if err := s.bridges.Reload(next.Bridges); err != nil {
		s.log.Error("bridges not reloaded", "err", err)
	}
	s.config.Bridges = next.Bridges
	s.config.Log.Level = next.Log.Level
	s.level.Set(logLevel(next.Log.Level))
	s.log.Info("reloaded", "changed", strings.Join(changed, " "))
	if len(waiting) > 0 {
		s.log.Warn("these need a restart", "keys", strings.Join(waiting, " "))
	}
}

// reloadChannels returns the keys of channels that need a restart.
func (s *server) reloadChannels(channels []configs.Channel) []string {
	waiting, err := s.channels.Reload(channels)
	if err != nil {
		s.log.Error("channels not reloaded", "err", err)
		return nil
	}
	s.config.Channels = channels
	return waiting
}
