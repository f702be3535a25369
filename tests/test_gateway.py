from hypothesis import given
from hypothesis import strategies as st

from bridge.gateway import Gateway, default_gateway, interfaces

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def test_of_several_default_routes_the_one_of_the_lowest_metric_counts() -> None:
    table = (
        HEAD + "wifi0\t00000000\t0100000A\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    )
    assert default_gateway(table) == Gateway("192.168.1.1", "eth0", "192.168.1.0/24")


def test_a_default_route_without_a_gateway_is_none() -> None:
    assert (
        default_gateway(HEAD + "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0") is None
    )


def test_interfaces_are_the_names_before_the_colons() -> None:
    table = "Inter-|   Receive\n face |bytes\n    lo: 1 2 3\nloopback0:4 5\n"
    assert interfaces(table) == ("lo", "loopback0")


@given(st.text())
def test_no_table_is_too_broken_to_be_read(table: str) -> None:
    assert default_gateway(HEAD + table) is None or table
    interfaces(table)
