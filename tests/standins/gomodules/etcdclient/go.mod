module example.test/standin/etcdclient/v3

go 1.25

require example.test/StandIn/Words v1.2.0
