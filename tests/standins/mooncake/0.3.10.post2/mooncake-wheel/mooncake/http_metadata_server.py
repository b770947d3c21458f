"""Stand-in for Mooncake's metadata server."""


def main():
    print("stand-in for mooncake_http_metadata_server: it serves nothing")
