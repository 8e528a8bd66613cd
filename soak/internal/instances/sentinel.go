package instances

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Master is the name of the master that the Sentinels watch.
const Master = "limits"

// Group is two servers, of which one replicates the other, and three Sentinels.
type Group struct {
	Servers   [2]*Server
	Sentinels []*Server
}

// StartGroup starts a group with its files in a folder.
func StartGroup(ctx context.Context, folder string) (g *Group, err error) {
	g = &Group{}
	if g.Servers[0], err = Start(ctx, folder, "--repl-diskless-sync-delay", "0", "--dbfilename", "first.rdb"); err != nil {
		return g, err
	}
	if g.Servers[1], err = Start(ctx, folder, "--repl-diskless-sync-delay", "0", "--dbfilename", "second.rdb"); err != nil {
		return g, err
	}
	if err := g.replicate(ctx, g.Servers[1], g.Servers[0]); err != nil {
		return g, err
	}
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 2\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n",
		Master, g.Servers[0].Port)
	for i := range 3 {
		config := filepath.Join(folder, fmt.Sprintf("sentinel-%d.conf", i))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return g, err
		}
		// The configuration file must come first.
		s := &Server{args: []string{config, "--sentinel", "--dir", folder, "--loglevel", "warning"}}
		if err := s.begin(ctx); err != nil {
			return g, err
		}
		g.Sentinels = append(g.Sentinels, s)
	}
	return g, g.AwaitReady(ctx)
}

func (g *Group) replicate(ctx context.Context, replica, master *Server) error {
	return replica.Client.ReplicaOf(ctx, "127.0.0.1", strconv.Itoa(master.Port)).Err()
}

// Stop ends all processes.
func (g *Group) Stop() {
	if g == nil {
		return
	}
	for _, s := range append(g.Sentinels, g.Servers[0], g.Servers[1]) {
		s.Kill()
	}
}

// Addrs are the addresses of the Sentinels.
func (g *Group) Addrs() (list []string) {
	for _, s := range g.Sentinels {
		list = append(list, s.Addr)
	}
	return list
}

// Roles returns the master as the Sentinels know it, and the other server.
func (g *Group) Roles(ctx context.Context) (master, other *Server, err error) {
	for _, s := range g.Sentinels {
		var addr []string
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
		addr, err = client.GetMasterAddrByName(ctx, Master).Result()
		_ = client.Close() // it was only asked
		if err != nil || len(addr) != 2 {
			continue
		}
		for i, server := range g.Servers {
			if server.Addr == net.JoinHostPort(addr[0], addr[1]) {
				return server, g.Servers[1-i], nil
			}
		}
	}
	return nil, nil, errors.Join(errors.New("the Sentinels know no master"), err)
}

// AwaitReady waits until a replica follows the master, and all Sentinels know so.
func (g *Group) AwaitReady(ctx context.Context) error {
	return Until(ctx, "the group is complete", func(ctx context.Context) bool {
		_, replica, err := g.Roles(ctx)
		if err != nil {
			return false
		}
		info, err := replica.Client.InfoMap(ctx, "replication").Result()
		if err != nil || info["Replication"]["master_link_status"] != "up" {
			return false
		}
		for _, s := range g.Sentinels {
			client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
			state, err := client.Master(ctx, Master).Result()
			_ = client.Close() // it was only asked
			if err != nil || state["num-other-sentinels"] != "2" || state["num-slaves"] != "1" || state["flags"] != "master" {
				return false
			}
		}
		return true
	})
}

// AwaitMaster waits until a server is the master, by its own word and that of the Sentinels.
func (g *Group) AwaitMaster(ctx context.Context, server *Server) error {
	return Until(ctx, "the replica is promoted", func(ctx context.Context) bool {
		master, _, err := g.Roles(ctx)
		if err != nil || master != server {
			return false
		}
		info, err := server.Client.InfoMap(ctx, "replication").Result()
		return err == nil && info["Replication"]["role"] == "master"
	})
}

// Rejoin restarts a server that was killed, as a replica of another.
func (g *Group) Rejoin(ctx context.Context, killed, master *Server) error {
	return killed.Restart(ctx, "--replicaof", "127.0.0.1", strconv.Itoa(master.Port))
}

// Failover lets the Sentinels promote the replica of a master that is well.
func (g *Group) Failover(ctx context.Context) error {
	client := redis.NewSentinelClient(&redis.Options{Addr: g.Sentinels[0].Addr})
	defer func() { _ = client.Close() }() // it was only used once
	return client.Failover(ctx, Master).Err()
}
