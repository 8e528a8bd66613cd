package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	rlprometheus "github.com/gin-ratelimiter/ratelimiter/metrics/prometheus"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/instances"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serverVariable holds the settings of a server. A process that has it is a server.
const serverVariable = "RATELIMITER_SOAK_SERVER"

// serverSettings are what a server has to know.
type serverSettings struct {
	Addr      string   // to listen on
	Single    string   // address of the single Redis
	Sentinels []string // addresses of the Sentinels
	Nodes     []string // addresses of the nodes of the Cluster
	Logs      string   // folder of the log files
	Process   int
	Begun     time.Time // the run, for its midnights
	Duration  time.Duration
	Default   int // units of the default limit
}

// ready is the line that a server writes when it listens.
const ready = "listening"

// poolSize bounds the connections of one limiter to its Redis.
const poolSize = 10

// application is a server: an engine with seven rate limiters, each with a log.
type application struct {
	engine   *gin.Engine
	limiters map[string]*ratelimiter.RateLimiter
	watchers map[string]*watcher
	logs     []*logging.Log
	files    []*os.File
	pages    []*dashboard.Handler
}

// serve is the life of a server. It ends when standard input does.
func serve(text string) error {
	var settings serverSettings
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	app, err := newApplication(settings)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", settings.Addr)
	if err != nil {
		return err
	}
	fmt.Println(ready)
	server := &http.Server{Handler: app.engine, ReadHeaderTimeout: 30 * time.Second} // it may be stopped for seconds
	for _, page := range app.pages {
		server.RegisterOnShutdown(page.Close)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the harness closes it, or ends
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	err = errors.Join(server.Shutdown(ctx), app.close())
	if stopped := <-ended; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(app.summary()))
}

func newApplication(settings serverSettings) (*application, error) {
	app := &application{
		engine:   gin.New(),
		limiters: map[string]*ratelimiter.RateLimiter{},
		watchers: map[string]*watcher{},
	}
	alone, err := openAlone(settings.Logs, settings.Process)
	if err != nil {
		return nil, err
	}
	app.files = append(app.files, alone)
	// The clients say who they are in X-Forwarded-For.
	if err := app.engine.SetTrustedProxies([]string{"127.0.0.1"}); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	for _, name := range routes.Limiters {
		if err := app.addLimiter(name, alone, settings); err != nil {
			return nil, fmt.Errorf("limiter %s: %w", name, err)
		}
		collector := rlprometheus.New(app.limiters[name])
		prometheus.WrapRegistererWith(prometheus.Labels{"limiter": name}, registry).MustRegister(collector)
	}
	admin := app.engine.Group("/admin", app.limiters[routes.Shared].Exempt())
	for _, name := range []string{routes.Shared, routes.HA} {
		page := dashboard.New(app.limiters[name], dashboard.WithReset())
		app.pages = append(app.pages, page)
		admin.Any("/limits-"+name+"/*any", gin.WrapH(page))
	}
	admin.GET("/metrics", gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	app.addOperations(admin, settings.Process)
	for i := range routes.All {
		app.addRoute(&routes.All[i], settings)
	}
	return app, nil
}

// addLimiter makes one of the limiters, with a log of its own.
func (app *application) addLimiter(name string, alone *os.File, settings serverSettings) error {
	file, err := os.Create(filepath.Join(settings.Logs, logName(settings.Process, name)))
	if err != nil {
		return err
	}
	log := logging.New(slog.New(slog.NewJSONHandler(file, nil)))
	watcher := &watcher{limiter: name, file: alone, written: map[string]int64{}}
	app.files, app.logs, app.watchers[name] = append(app.files, file), append(app.logs, log), watcher
	config := ratelimiter.Config{
		ratelimiter.ConfigKeyPrefix: name,
		ratelimiter.ConfigObserver:  []ratelimiter.Observer{log, watcher},
		ratelimiter.ConfigTimeout:   routes.Timeout,
	}
	single := map[string]any{"addr": settings.Single, "pool_size": poolSize}
	switch name {
	case routes.Shared:
		config[ratelimiter.ConfigBackend], config[ratelimiter.ConfigBackendOptions] = "redis", single
		config[ratelimiter.ConfigDefaultLimits] = defaultLimits(settings.Default)
		config[ratelimiter.ConfigApplicationLimits] = applicationLimits(settings.Default)
		config[ratelimiter.ConfigFallbackLimits] = "500/second"
	case routes.HA:
		config[ratelimiter.ConfigBackend] = "redis"
		config[ratelimiter.ConfigBackendOptions] = map[string]any{
			"addrs": settings.Sentinels, "master_name": instances.Master, "pool_size": poolSize}
	case routes.Cluster:
		config[ratelimiter.ConfigBackend] = "redis"
		config[ratelimiter.ConfigBackendOptions] = map[string]any{"addrs": settings.Nodes, "pool_size": poolSize}
	case routes.Leased:
		single["lease"] = routes.LeaseUnits
		config[ratelimiter.ConfigBackend], config[ratelimiter.ConfigBackendOptions] = "redis", single
	case routes.Deny, routes.Allow:
		config[ratelimiter.ConfigBackend], config[ratelimiter.ConfigBackendOptions] = "redis", single
		config[ratelimiter.ConfigOnError] = name
	}
	limiter, err := ratelimiter.New(app.engine, config)
	app.limiters[name], watcher.health = limiter, limiter.Health
	return err
}

func logName(process int, limiter string) string {
	return fmt.Sprintf("server-%d-%s.log", process, limiter)
}

// applicationLimits change with the default limits.
func applicationLimits(units int) string { return fmt.Sprintf("%d/minute", 240*units) }

func defaultLimits(units int) string { return fmt.Sprintf("%d per %v", units, routes.DefaultPer) }

func (app *application) close() (err error) {
	for _, page := range app.pages {
		page.Close()
	}
	for _, limiter := range app.limiters {
		err = errors.Join(err, limiter.Close())
	}
	for _, log := range app.logs {
		err = errors.Join(err, log.Close())
	}
	for _, file := range app.files {
		err = errors.Join(err, file.Close())
	}
	return err
}
