"""The words of the status page, in English and Chinese."""

from collections.abc import Mapping
from types import MappingProxyType

Words = Mapping[str, str]

ENGLISH: Words = MappingProxyType(
    {
        "lang": "en",
        "calls": "Calls",
        "queues": "Queues",
        "agents": "Agents",
        "caller": "Caller",
        "dialled": "Dialled",
        "state": "State",
        "since": "For",
        "where": "Where",
        "agent": "Agent",
        "queue": "Queue",
        "waiting": "Waiting",
        "longest": "Longest wait",
        "talking": "Talking",
        "answered": "Answered",
        "abandoned": "Abandoned",
        "reason": "Reason",
        "trunks": "Trunks",
        "trunk": "Trunk",
        "incoming": "Calls in",
        "outgoing": "Calls out",
        "limit": "Limit",
        "fault": "Last fault",
        "ago": "ago",
        "none": "none now",
        "withheld": "withheld",
        "dial": "Dial",
        "catching_up": "Reading the log: what you see is not up to date yet.",
        "control_away": "The control process is not running: calls are not answered.",
        "draining": "Draining: no new calls; the hotline ends with its last one.",
        "media_draining": "After an upgrade: calls that began before it end at the media processes of that time.",
        "journal_waits": "The disk takes no events: calls go on, but what you see stands still.",
        "state.arrived": "arrived",
        "state.flow": "in the menu",
        "state.queued": "queued",
        "state.talking": "talking",
        "state.held": "on hold",
        "state.logged_out": "logged out",
        "state.not_ready": "not ready",
        "state.ready": "ready",
        "state.offered": "ringing",
        "state.on_call": "on a call",
        "state.wrap_up": "wrap-up",
        "trunk.up": "up",
        "trunk.degraded": "degraded",
        "trunk.down": "down",
        "trunk.incoming": "calls in only",
    }
)

CHINESE: Words = MappingProxyType(
    {
        "lang": "zh-CN",
        "calls": "通话",
        "queues": "队列",
        "agents": "座席",
        "caller": "主叫",
        "dialled": "被叫",
        "state": "状态",
        "since": "时长",
        "where": "位置",
        "agent": "座席",
        "queue": "队列",
        "waiting": "等待",
        "longest": "最长等待",
        "talking": "通话中",
        "answered": "已接听",
        "abandoned": "已放弃",
        "reason": "原因",
        "trunks": "中继",
        "trunk": "中继",
        "incoming": "呼入",
        "outgoing": "呼出",
        "limit": "上限",
        "fault": "最近故障",
        "ago": "前",
        "none": "暂无",
        "withheld": "未显示号码",
        "dial": "拨打",
        "catching_up": "正在读取日志：所示内容尚未更新至当前。",
        "control_away": "控制进程未运行：来电无人应答。",
        "draining": "正在排空：不再接受新来电，最后一通通话结束后系统停止。",
        "media_draining": "升级后：升级前开始的通话仍由原媒体进程处理，直至结束。",
        "journal_waits": "磁盘无法写入事件：通话继续进行，但此处显示的内容暂不更新。",
        "state.arrived": "已到达",
        "state.flow": "在菜单中",
        "state.queued": "排队中",
        "state.talking": "通话中",
        "state.held": "保持中",
        "state.logged_out": "未登录",
        "state.not_ready": "未就绪",
        "state.ready": "就绪",
        "state.offered": "振铃中",
        "state.on_call": "通话中",
        "state.wrap_up": "话后处理",
        "trunk.up": "正常",
        "trunk.degraded": "部分故障",
        "trunk.down": "中断",
        "trunk.incoming": "仅呼入",
    }
)


def words_for(accept_language: str) -> Words:
    """By the first of zh and en in the header (RFC 9110 §12.5.4), weights regarded; English for neither."""
    best, chosen = 0.0, ENGLISH
    for part in accept_language[:1000].split(","):
        tag, _, weight = part.partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        words = {"zh": CHINESE, "en": ENGLISH}.get(tag.strip().lower().split("-")[0])
        if words is not None and quality > best:
            best, chosen = quality, words
    return chosen
