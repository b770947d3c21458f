module example.test/standin/etcd_wrapper

go 1.25

require example.test/standin/etcdclient/v3 v3.5.21

require example.test/StandIn/Words v1.2.0 // indirect
