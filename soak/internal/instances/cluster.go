package instances

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Nodes are the masters of a Cluster without replicas, in the order of their slots.
type Nodes []*Server

const slots = 16384

// StartCluster starts a Cluster with its files in a folder. If a node is down, the others
// answer for their slots.
func StartCluster(ctx context.Context, folder string, masters int) (nodes Nodes, err error) {
	for i := range masters {
		config := fmt.Sprintf("nodes-%d.conf", i)
		node, err := Start(ctx, folder, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
			"--cluster-config-file", config, "--dbfilename", fmt.Sprintf("node-%d.rdb", i))
		nodes = append(nodes, node)
		if err != nil {
			return nodes, err
		}
		if err := node.Client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return nodes, err
		}
		if err := node.Client.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(nodes[0].Port)).Err(); err != nil {
			return nodes, err
		}
	}
	return nodes, nodes.AwaitReady(ctx)
}

// Stop ends all processes.
func (nodes Nodes) Stop() {
	for _, node := range nodes {
		node.Kill()
	}
}

// Addrs are the addresses of the nodes.
func (nodes Nodes) Addrs() (list []string) {
	for _, node := range nodes {
		list = append(list, node.Addr)
	}
	return list
}

// AwaitReady waits until each node accepts writes, and thinks well of all others.
func (nodes Nodes) AwaitReady(ctx context.Context) error {
	return Until(ctx, "the Cluster is complete", func(ctx context.Context) bool {
		for _, node := range nodes {
			info, err := node.Client.ClusterInfo(ctx).Result()
			if err != nil || !strings.HasPrefix(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d\r", slots)) {
				return false
			}
			if shards, err := node.Client.ClusterShards(ctx).Result(); err != nil || len(shards) != len(nodes) {
				return false
			}
		}
		return true
	})
}

// MoveSlots moves slots with their keys from one node to another.
func (nodes Nodes) MoveSlots(ctx context.Context, slots []int64, from, to int) error {
	ids := make([]string, len(nodes))
	for i, node := range nodes {
		id, err := node.Client.Do(ctx, "cluster", "myid").Text()
		if err != nil {
			return err
		}
		ids[i] = id
	}
	for _, slot := range slots {
		if err := nodes.moveSlot(ctx, slot, from, to, ids); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	return nil
}

func (nodes Nodes) moveSlot(ctx context.Context, slot int64, from, to int, ids []string) error {
	set := func(node int, words ...any) error {
		return nodes[node].Client.Do(ctx, append([]any{"cluster", "setslot", slot}, words...)...).Err()
	}
	if err := set(to, "importing", ids[from]); err != nil {
		return err
	}
	if err := set(from, "migrating", ids[to]); err != nil {
		return err
	}
	if err := nodes.migrate(ctx, slot, from, to); err != nil {
		return err
	}
	for i := range nodes { // the new owner has to know first
		if err := set((to+i)%len(nodes), "node", ids[to]); err != nil {
			return err
		}
	}
	return nil
}

// migrate moves the keys of a slot. New ones are made by the node that imports it.
func (nodes Nodes) migrate(ctx context.Context, slot int64, from, to int) error {
	keys, err := nodes[from].Client.ClusterGetKeysInSlot(ctx, int(slot), 1000).Result()
	if err != nil || len(keys) == 0 {
		return err
	}
	words := []any{"migrate", "127.0.0.1", nodes[to].Port, "", 0, 5000, "keys"}
	for _, key := range keys {
		words = append(words, key)
	}
	return nodes[from].Client.Do(ctx, words...).Err()
}

// SlotsInUse are some slots of a node that have keys.
func (nodes Nodes) SlotsInUse(ctx context.Context, node, most int) (list []int64, err error) {
	client := nodes[node].Client
	seen := map[int64]bool{}
	keys := client.Scan(ctx, 0, "*", 100).Iterator()
	for keys.Next(ctx) && len(list) < most {
		slot, err := client.ClusterKeySlot(ctx, keys.Val()).Result()
		if err != nil {
			return nil, err
		}
		if !seen[slot] {
			seen[slot], list = true, append(list, slot)
		}
	}
	return list, keys.Err()
}
