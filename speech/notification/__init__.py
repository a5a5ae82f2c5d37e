"""The message at the end of a run: what it says, the forms that chats take, and how it is sent."""
